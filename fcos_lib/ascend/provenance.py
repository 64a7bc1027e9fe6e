"""Provenance of an OM: what it was made from, and whether it belongs to this chip, ONNX and contract, before the device is touched."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from fcos_lib.ascend.atc import om_info
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.errors import UsageError
from fcos_lib.files import sha256_of
from fcos_lib.store.artifacts import read_manifest


@dataclass(frozen=True, slots=True)
class OmFacts:
    """What is known of an OM's making."""

    path: Path
    sha256: str
    soc_version: str
    batches: tuple[int, ...]
    """The fixed batch size, or the profiles of `--dynamic_batch_size`, rising; empty if it does not say."""
    out_nodes: str
    """As given to atc, `labels;dets`; empty if it was not given."""
    onnx_sha256: str
    """The ONNX it was compiled from; empty if nobody wrote that down."""
    precision_mode: str
    cann_version: str
    input_layout: InputLayout = InputLayout.FLOAT_NCHW
    """uint8 if it was compiled with `--insert_op_conf`."""


def om_facts(toolkit: Toolkit, om: Path, contract: ModelContract) -> OmFacts:
    """Facts of one OM from `atc --mode=6`, and the ONNX's hash from our manifest beside it if there is one."""
    info = om_info(toolkit, om)
    options = command_options(info["command_line"])
    manifest = read_manifest(om.parent)
    ours = manifest and om.name in manifest.files and manifest.files[om.name].sha256 == sha256_of(om)
    return OmFacts(
        path=om,
        sha256=sha256_of(om),
        soc_version=info["soc_version"],
        batches=batch_sizes(options) if options.get("input_shape", "").startswith(f"{contract.input_name}:") else (),
        out_nodes=options.get("out_nodes", ""),
        onnx_sha256=str(manifest.inputs.get("onnx", "")) if manifest and ours else "",
        precision_mode=options.get("precision_mode") or options.get("precision_mode_v2") or "force_fp16",
        cann_version=info.get("atc_version", "unknown"),
        input_layout=InputLayout.UINT8_NHWC if options.get("insert_op_conf") else InputLayout.FLOAT_NCHW,
    )


def find_oms(toolkit: Toolkit, folder: Path, contract: ModelContract) -> dict[int, OmFacts]:
    """The OMs of a folder (and of its direct subfolders) by batch size; `UsageError` if none, or two for one size.

    One with profiles serves each of them.
    """
    paths = sorted([*folder.glob("*.om"), *folder.glob("*/*.om")]) if folder.is_dir() else []
    if not paths:
        raise UsageError(f"there is no .om in {folder}", "pass --om FOLDER with an OM for each batch size")
    by_batch: dict[int, OmFacts] = {}
    for path in paths:
        facts = om_facts(toolkit, path, contract)
        for batch in facts.batches or (0,):
            if batch in by_batch:
                raise UsageError(
                    f"{path} and {by_batch[batch].path} are both for batch size {batch}",
                    "leave one of them in the folder",
                )
            by_batch[batch] = facts
    return by_batch


def check_provenance(
    facts: OmFacts,
    *,
    soc_version: str,
    onnx_sha256: str,
    contract: ModelContract,
    layout: InputLayout = InputLayout.FLOAT_NCHW,
) -> None:
    """`UsageError` that names everything that does not belong: another chip, ONNX, input or order of outputs."""
    order = ";".join(contract.output_names)
    wrong = []
    if facts.soc_version != soc_version:
        wrong.append(f"compiled for {facts.soc_version}, the device is {soc_version}")
    if facts.onnx_sha256 and facts.onnx_sha256 != onnx_sha256:
        wrong.append(f"compiled from the ONNX {facts.onnx_sha256[:12]}, the one under test is {onnx_sha256[:12]}")
    if facts.out_nodes not in ("", order):
        wrong.append(f"its outputs are '{facts.out_nodes}', the contract's are '{order}'")
    if not facts.batches:
        wrong.append(f"its input is not '{contract.input_name}' with a fixed batch size or profiles for it")
    if facts.input_layout is not layout:
        wrong.append(f"its input is {facts.input_layout.value}, this run feeds {layout.value}")
    if wrong:
        raise UsageError(
            f"{facts.path} does not belong to this run: {'; '.join(wrong)}",
            f"compile it again with --soc_version={soc_version} --out_nodes='{order}'"
            + (", with or without --insert_op_conf as --aipp says" if facts.input_layout is not layout else ""),
        )


def batch_sizes(options: dict[str, str]) -> tuple[int, ...]:
    """The fixed batch size or the profiles, rising, that atc's options ask for; empty if they do not say."""
    shape = re.search(r":(-?\d{1,9}),", options.get("input_shape", ""))
    if shape and shape[1] == "-1":
        return tuple(sorted({int(size) for size in re.findall(r"\b\d{1,9}\b", options.get("dynamic_batch_size", ""))}))
    return (int(shape[1]),) if shape and int(shape[1]) > 0 else ()


def command_options(command: str) -> dict[str, str]:
    """atc's options by full name; it accepts unambiguous prefixes, `-` for `_`, and values behind `=` or a blank."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    known = (
        "input_shape",
        "out_nodes",
        "soc_version",
        "precision_mode",
        "precision_mode_v2",
        "model",
        "insert_op_conf",
        "dynamic_batch_size",
    )
    options: dict[str, str] = {}
    for position, word in enumerate(words):
        if not word.startswith("-"):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("-", "_")
        if not equals and position + 1 < len(words):
            value = words[position + 1]
        full = [option for option in known if option.startswith(name)]
        if name in known or len(full) == 1:
            options[name if name in known else full[0]] = value
    return options
