"""The verbs of the model's way, from the contract to the OM.

`contracts` lists the models that have one, `contract` writes that of a model of your own from its config, `export` makes ONNX of
a checkpoint, `compile` an OM of ONNX.
"""

from __future__ import annotations

import os
import sys
import textwrap
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fcos_lib.artifacts import ASCEND, PORTABLE
from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.artifacts.om import onnx_for_atc
from fcos_lib.ascend.atc import LOG_NAME, compile_om, progress_line
from fcos_lib.ascend.atc_command import AtcOptions, check_options
from fcos_lib.ascend.toolkit import Toolkit, discover
from fcos_lib.cli.shared import choose_device, chosen_dataset, note, shape_contract
from fcos_lib.contract import COCO_R50, CONTRACTS, ModelContract
from fcos_lib.errors import UsageError
from fcos_lib.files import sha256_of, write_whole
from fcos_lib.judge.limits import find_limit
from fcos_lib.model.config_contract import as_toml, contract_fields, contract_from, name_of
from fcos_lib.model.config_files import read_config
from fcos_lib.model.config_run import TIME_LIMIT_S, run_config
from fcos_lib.model.config_syntax import Node
from fcos_lib.model.zoo import METAFILE, Published, known_contracts, named_contract, zoo
from fcos_lib.store.artifacts import Store

_WIDTH = 110
_UNTOLD = ("limits_of", "loss_cls", "loss_bbox", "loss_centerness", "center_sampling")
"""Fields that nothing which is computed depends on."""


def contracts(args: Namespace) -> int:
    """Print each contract: its name, published AP, input, and what differs from the recipe's."""
    for name in (*CONTRACTS, *zoo()):
        contract, entry = known_contracts().get(name), zoo().get(name)
        size = f"{contract.height} x {contract.width}" if contract else "refused"
        print(f"{name}\n    {size}, {_ap(name, entry.published if entry else None)}")
        said = (
            _differences(contract)
            if contract
            else entry.refused.found.partition(": ")[2]
            if entry and entry.refused
            else ""
        )
        print(textwrap.fill(said, _WIDTH, initial_indent="    ", subsequent_indent="      "))
    print(f"AP is box AP on val2017 in percent; lines are those of {METAFILE}")
    return 0


def _ap(name: str, published: Published | None) -> str:
    """The AP of mmdetection's metafile, or of ModelZoo, whose figure is a limit itself."""
    if published:
        return f"AP {published.box_ap} (line {published.line})"
    limit = find_limit("accuracy", name, "mAP_as_published")
    return f"AP {100 * limit.bound:.1f} (ModelZoo)" if limit else "no AP published"


def _differences(contract: ModelContract) -> str:
    """`depth 101, not 50; style pytorch, not caffe`, or that there is no difference."""
    fields: Mapping[str, tuple[Any, Any]] = contract.differences(COCO_R50)
    said = [
        f"{name} {_short(own)}, not {_short(recipe)}" for name, (own, recipe) in fields.items() if name not in _UNTOLD
    ]
    return "; ".join(said) or "the recipe's"


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return f"{len(value)} names" if value and isinstance(value[0], str) else " ".join(map(str, value))
    return str(value)


def contract(args: Namespace) -> int:
    """Write the contract of a config, or print it; nothing in the config is run without `--run-config`."""
    config = str(args.config)
    variables = _run(args) if args.run_config else read_config(args.config, args.config_root)
    size = tuple(args.input_size) if args.input_size else None
    fields = contract_fields(variables, _name(args), size=size, classes=args.classes)
    result = contract_from(fields, config)
    text = as_toml(fields, config)
    if args.output is None:
        print(text, end="")
        return 0
    if args.output.suffix != ".toml":
        raise UsageError(f"{args.output} is no .toml file", "name one, such as mine.toml")
    if args.output.exists():
        raise UsageError(f"{args.output} is there already", "name another file, or remove that one")
    write_whole(args.output, text.encode())
    print(f"{args.output}  {result.name}: {len(result.classes)} classes, input {result.height} x {result.width}")
    note("height x width and the padding around a picture are explained in the file; docs/adding_a_contract.md goes on")
    return 0


def _name(args: Namespace) -> str:
    """The contract's name, which is none of those that have a contract already."""
    taken = {*CONTRACTS, *zoo()}
    if args.name in taken:
        raise UsageError(f"'{args.name}' is the name of a contract that is there already", "give it another --name")
    name = str(args.name or name_of(args.config))
    return f"my_{name}" if name in taken else name


def _run(args: Namespace) -> Node:
    """The variables of a config that is run, after asking."""
    question = (
        f"{args.config} will be run as a program of yours: without network, variables and much memory, for {TIME_LIMIT_S:g} s at most, "
        "but able to read and remove your files."
    )
    if not args.yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{question} There is no terminal to ask on", "pass --yes if you trust the config")
        if input(f"{question} Run it? [y/N] ").strip().lower() not in ("y", "yes"):
            raise UsageError("the config was not run", "without --run-config it is read, and what is computed is named")
    return run_config(args.config)


def export(args: Namespace) -> int:
    """Write both endings of a checkpoint's ONNX."""
    import onnx

    from fcos_lib.model.npu_operators import operator_counts

    contract = chosen_dataset(args).contract if args.dataset else named_contract(args.contract)
    artifact = onnx_artifact(Store(args.artifacts), contract, args.checkpoint)
    args.output.mkdir(parents=True, exist_ok=True)
    for name in (PORTABLE, ASCEND):
        path = args.output / name
        write_whole(path, (artifact.path / name).read_bytes())
        model = onnx.load(str(path))
        counts = operator_counts(model)
        print(f"{path}  {path.stat().st_size:,} bytes")
        print(f"  sha256     {sha256_of(path)}")
        print(f"  opset      {', '.join(str(entry.version) for entry in model.opset_import)}")
        print(f"  operators  {sum(counts.values())}: {', '.join(f'{kind} {times}' for kind, times in counts.items())}")
    print(f"contract {contract.name}, {'built' if artifact.built else 'taken from the store'} ({artifact.path})")
    return 0


def compile_onnx(args: Namespace) -> int:
    """Compile an ascend ending with atc."""
    contract = _onnx_contract(args.onnx, args.contract, args.dynamic_batch or (args.batch_size,))
    toolkit, soc_version = _target(args)
    options = AtcOptions(
        soc_version,
        args.batch_size or 0,
        precision_mode=args.precision_mode,
        op_select_implmode=args.op_select_implmode,
        extra=tuple(args.atc_option),
        dynamic_batches=args.dynamic_batch or (),
    )
    line = progress_line(sys.stderr, options)
    check_options(options)
    args.output.mkdir(parents=True, exist_ok=True)
    onnx = onnx_for_atc(args.onnx, args.output, options)
    try:
        om = compile_om(
            toolkit, onnx, args.output, contract, options, timeout_s=60 * args.atc_time_limit, progress=line
        )
    finally:
        if line:
            line.clear()
    print(f"{om}  {om.stat().st_size:,} bytes")
    print(f"  sha256     {sha256_of(om)}")
    print(f"  compiled   {options.batches}, {soc_version}, {args.precision_mode or 'no --precision_mode'}")
    print(f"  from       {onnx}")
    print(f"  CANN       {toolkit.cann_version}")
    print(f"  log        {args.output / LOG_NAME}")
    return 0


def _target(args: Namespace) -> tuple[Toolkit, str]:
    """The toolkit and the chip to compile for. With a chip named, atc alone is enough: compiling needs no NPU."""
    if args.soc_version != "auto" and args.npu == "auto":
        toolkit = discover(os.environ)
        if toolkit.atc:
            return toolkit, args.soc_version
    device = choose_device(args)
    return device.toolkit, device.soc_version if args.soc_version == "auto" else args.soc_version


def _onnx_contract(path: Path, name: str | None, batches: Sequence[int]) -> ModelContract:
    """The contract of an ascend ending; `UsageError` if the file is another model, or is for another batch size alone."""
    import onnx

    from fcos_lib.model.npu_operators import NMS_OPERATOR, operator_counts, tensor_shape

    if not path.is_file():
        raise UsageError(f"there is no ONNX model at {path}", "export it first")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's DecodeError and more, for anything that is no ONNX
        raise UsageError(f"{path} is no ONNX model", "pass the ascend.onnx that export wrote") from error
    if NMS_OPERATOR not in operator_counts(model):
        raise UsageError(
            f"{path} has no {NMS_OPERATOR}, so it is not the ending for Ascend",
            "pass the ascend.onnx that export wrote; portable.onnx is for onnxruntime",
        )
    shapes = [tensor_shape(value) for value in model.graph.input]
    if len(shapes) != 1 or len(shapes[0]) != 4 or not all(isinstance(size, int) for size in shapes[0][2:]):
        raise UsageError(f"{path} has inputs of the shapes {shapes}, not one [N, 3, H, W]", "export it again")
    if isinstance(fixed := shapes[0][0], int) and tuple(batches) != (fixed,):
        raise UsageError(
            f"{path} is for batch size {fixed} alone, not for {', '.join(map(str, batches))}",
            "pass the ascend.onnx that export wrote, whose batch size is open",
        )
    return shape_contract(name, int(shapes[0][2]), int(shapes[0][3]), str(path))
