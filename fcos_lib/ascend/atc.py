"""How does an ONNX become an OM? Runs `atc` and accepts only what it finished."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fcos_lib.ascend.aipp import CONFIG_NAME, aipp_config
from fcos_lib.ascend.atc_errors import diagnose
from fcos_lib.ascend.process import TimedOut, read_output, run_tool
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.errors import AtcError, UsageError

LOG_NAME = "atc.log"
OM_STEM = "model"

_OWNED = frozenset((
    "framework", "model", "output", "input_format", "input_shape", "insert_op_conf", "out_nodes", "soc_version", "mode",
    "om",
))  # fmt: skip
"""Options that decide what the OM is; `AtcOptions.extra` may not replace them."""

_PYTHON_VARIABLES = frozenset({"VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "PYTHONHOME"})

_INFO_FIELD = re.compile(r"\b([a-z][a-z_]{2,40})\[([^\]\n]{0,200})\]")
_INFO_COMMAND = re.compile(r"^Original Atc command line:[ \t]*(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class AtcOptions:
    """What may differ between two OMs of one model."""

    soc_version: str
    """The chip, such as `Ascend310P3`."""
    batch: int
    """The OM's fixed batch size."""
    precision_mode: str = "force_fp16"
    """atc's `--precision_mode`; empty passes none (for `--precision_mode_v2` in `extra`, which excludes it)."""
    extra: tuple[str, ...] = ()
    """Further options, each written `--name=value`."""
    aipp: bool = False
    """Whether AIPP subtracts the mean on the device, so that the OM takes uint8 pictures."""

    @property
    def layout(self) -> InputLayout:
        """What the OM takes."""
        return InputLayout.UINT8_NHWC if self.aipp else InputLayout.FLOAT_NCHW


def command(atc: Path, model: Path, output: Path, contract: ModelContract, options: AtcOptions) -> list[str]:
    """The argument list that compiles `model` to `<output>.om`; no shell, so that the `;` of `--out_nodes` is plain text.

    With AIPP, its configuration has to lie beside the output, under `CONFIG_NAME`.
    `UsageError` for a batch size below 1, or an `extra` that is no `--name=value` or replaces what the contract decides.
    """
    if options.batch < 1:
        raise UsageError(f"batch size {options.batch} cannot be compiled", "pass a batch size of 1 or more")
    names = set()
    for option in options.extra:
        name = option.partition("=")[0].removeprefix("--").replace("-", "_")
        names.add(name)
        if not option.startswith("--") or "=" not in option or name in _OWNED:
            raise UsageError(
                f"'{option}' cannot be passed on to atc",
                f"write --name=value; the suite itself sets {', '.join(sorted(_OWNED))}",
            )
    shape = ",".join(str(size) for size in contract.input_shape(options.batch))
    arguments = [
        str(atc),
        "--framework=5",
        f"--model={model}",
        f"--output={output}",
        "--input_format=NCHW",
        f"--input_shape={contract.input_name}:{shape}",
        f"--out_nodes={';'.join(contract.output_names)}",
        f"--soc_version={options.soc_version}",
    ]
    if options.aipp:
        arguments.append(f"--insert_op_conf={output.parent / CONFIG_NAME}")
    if options.precision_mode:
        arguments.append(f"--precision_mode={options.precision_mode}")
    if "log" not in names:
        arguments.append("--log=error")
    return [*arguments, *options.extra]


def clean_environment(environ: Mapping[str, str], virtual_env: str | None = None) -> dict[str, str]:
    """`environ` without the virtual environment: `atc` embeds the system's Python and breaks on another one's modules.

    `virtual_env` is the environment's folder; left out, it is VIRTUAL_ENV and the one this Python runs in.
    """
    running = sys.prefix if sys.prefix != sys.base_prefix else ""
    folders = [virtual_env] if virtual_env is not None else [environ.get("VIRTUAL_ENV", ""), running]
    inside = [Path(folder) for folder in folders if folder]
    kept = {name: value for name, value in environ.items() if name not in _PYTHON_VARIABLES}
    for name in ("PATH", "PYTHONPATH"):
        if name in kept:
            entries = kept[name].split(os.pathsep)
            left = [entry for entry in entries if not any(Path(entry).is_relative_to(folder) for folder in inside)]
            kept[name] = os.pathsep.join(left)
            if not kept[name]:
                del kept[name]
    return kept


def compile_om(
    toolkit: Toolkit,
    onnx: Path,
    output_dir: Path,
    contract: ModelContract,
    options: AtcOptions,
    timeout_s: float = 3600,
    failed_log: Path | None = None,
) -> Path:
    """Compile `onnx` (the ascend ending) and return the OM: `model.om` or `model_linux_<arch>.om` in `output_dir`.

    What atc prints is in `output_dir/atc.log`, the AIPP configuration in `output_dir/aipp.cfg`; atc's side files go to a scratch folder that is removed. An OM that was in
    `output_dir` is removed first, so that one left there after a failure is never an old or a half-written one.
    `AtcError` if atc is missing, fails, exceeds `timeout_s` seconds or writes nothing; it names the log, which is copied to
    `failed_log` then, for callers that remove `output_dir`.
    """
    atc = _atc_of(toolkit)
    onnx, output_dir = onnx.absolute(), output_dir.absolute()
    if not onnx.is_file():
        raise AtcError(f"there is no ONNX model at {onnx}", "export it first")
    output_dir.mkdir(parents=True, exist_ok=True)
    arguments = command(atc, onnx, output_dir / OM_STEM, contract, options)
    _remove_oms(output_dir)
    if options.aipp:
        (output_dir / CONFIG_NAME).write_text(aipp_config(contract), encoding="utf-8")
    log = output_dir / LOG_NAME
    hint = f"log: {failed_log.absolute() if failed_log else log}"
    try:
        with tempfile.TemporaryDirectory(prefix="atc-", dir=output_dir) as scratch:
            text = _run(arguments, log, timeout_s, Path(scratch), hint)
        return _finished_om(output_dir, text, hint)
    except BaseException:
        _remove_oms(output_dir)
        if failed_log and log.is_file():
            failed_log.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, failed_log)
        raise


def om_info(toolkit: Toolkit, om: Path, timeout_s: float = 300) -> dict[str, str]:
    """What an OM says about its making: `soc_version`, `atc_version`, `framework_type`, `command_line` and sizes.

    Meant for OMs that were built elsewhere. `AtcError` if atc cannot read the file or names no soc_version.
    """
    atc = _atc_of(toolkit)
    if not om.is_file():
        raise AtcError(f"there is no OM at {om}", "pass the path of an .om file")
    arguments = [str(atc), "--mode=6", f"--om={om.absolute()}"]
    with tempfile.TemporaryDirectory(prefix="fcos-om-info-") as folder:
        scratch = Path(folder)
        text = _run(arguments, scratch / LOG_NAME, timeout_s, scratch, f"again: {' '.join(arguments)}")
    original = _INFO_COMMAND.search(text)
    info = {name: value.strip() for name, value in _INFO_FIELD.findall(_INFO_COMMAND.sub("", text))}
    if not info.get("soc_version"):
        raise AtcError(f"atc says nothing about the chip that {om} was compiled for", "compile the model again")
    return {**info, "command_line": original[1].strip() if original else ""}


def _atc_of(toolkit: Toolkit) -> Path:
    if toolkit.atc is None:
        raise AtcError(
            "atc was not found in the toolkit's folders or on PATH",
            "install CANN and source its set_env.sh, or set ASCEND_TOOLKIT_HOME",
        )
    return toolkit.atc.absolute()


def _run(arguments: list[str], log: Path, timeout_s: float, scratch: Path, hint: str) -> str:
    """The output of an `atc` that ended with status 0; the success phrase is no criterion, warnings may follow it."""
    try:
        status = run_tool(arguments, log=log, timeout_s=timeout_s, cwd=scratch, env=clean_environment(os.environ))
    except TimedOut:
        raise AtcError(
            f"atc did not finish within {timeout_s:g} s and was killed",
            f"allow more time, or set TE_PARALLEL_COMPILER to the number of cores; {hint}",
        ) from None
    except OSError as error:
        raise AtcError(f"{arguments[0]} cannot be started ({error})", "reinstall the toolkit") from error
    text = read_output(log)
    if status != 0:
        found, advice = diagnose(status, text)
        raise AtcError(found, f"{advice}; {hint}" if advice else hint)
    return text


def _oms(output_dir: Path) -> list[Path]:
    """Both spellings: newer CANN adds the platform when host code is embedded, and such an OM runs only there."""
    return [
        path for path in output_dir.glob(f"{OM_STEM}*.om") if re.fullmatch(rf"{OM_STEM}(?:_linux_\w+)?\.om", path.name)
    ]


def _remove_oms(output_dir: Path) -> None:
    for path in _oms(output_dir):
        path.unlink(missing_ok=True)


def _finished_om(output_dir: Path, text: str, hint: str) -> Path:
    written = sorted(_oms(output_dir), key=lambda path: path.stat().st_mtime_ns)
    if not written:
        said = "and claims success" if "ATC run success" in text else "without its success line"
        raise AtcError(
            f"atc ended with status 0 {said}, but wrote no {OM_STEM}.om", f"check that the disk is not full; {hint}"
        )
    if written[-1].stat().st_size == 0:
        raise AtcError(f"atc wrote an empty {written[-1].name}", f"check that the disk is not full; {hint}")
    return written[-1]
