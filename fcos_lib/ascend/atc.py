"""`atc` as a process: compiles an ONNX file to an OM, and describes an OM as JSON."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TextIO

from fcos_lib.ascend.atc_command import CONFIG_NAME, AtcOptions, aipp_config, check_options, command
from fcos_lib.ascend.atc_errors import diagnose
from fcos_lib.ascend.plain_path import PlainPaths
from fcos_lib.ascend.process import TimedOut, read_output, run_tool
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.contract import ModelContract
from fcos_lib.errors import AtcError

_CLEAR = "\r\033[K"


def progress_text(options: AtcOptions, log: Path, seconds: float, width: int = 1000) -> str:
    """`atc: batch size 8, 1 min 20 s (log: /x/atc.log)`, cut to `width` columns."""
    minutes, rest = divmod(int(seconds), 60)
    passed = f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"atc: {options.batches}, {passed} (log: {log})"[:width]


class ProgressLine:
    """A `progress` for `compile_om` that keeps one line of a terminal current."""

    def __init__(self, stream: TextIO, options: AtcOptions) -> None:
        self._stream, self._options, self._shown = stream, options, False

    def __call__(self, log: Path, seconds: float) -> None:
        """Write the line again."""
        self._shown = True
        width = shutil.get_terminal_size().columns - 1  # a full line would wrap, and the next one could not replace it
        self._stream.write(_CLEAR + progress_text(self._options, log, seconds, width))
        self._stream.flush()

    def clear(self) -> None:
        """Remove the line, if there is one."""
        if self._shown:
            self._shown = False
            self._stream.write(_CLEAR)
            self._stream.flush()


def progress_line(stream: TextIO, options: AtcOptions) -> ProgressLine | None:
    """The line on `stream`; None unless that is a terminal, so that logs get no control characters."""
    return ProgressLine(stream, options) if stream.isatty() else None


Progress = Callable[[Path, float], None]
"""Hears of a running atc: its log, and the seconds so far."""

LOG_NAME = "atc.log"
OM_STEM = "model"
_OM_MODE = 0o640
FUSION_NAME = "fusion_result.json"
"""What atc writes into its working folder about the fusion rules that it applied (ATC user guide, `--export_compile_stat`)."""

_PYTHON_VARIABLES = frozenset({"VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "PYTHONHOME"})

_INFO_FIELD = re.compile(r"\b([a-z][a-z_]{2,40})\[([^\]\n]{0,200})\]")
_INFO_COMMAND = re.compile(r"^Original Atc command line:[ \t]*(.+)$", re.MULTILINE)


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without VIRTUAL_ENV and the one that this Python runs in: `atc` embeds the system's Python and breaks in it."""
    running = sys.prefix if sys.prefix != sys.base_prefix else ""
    inside = [Path(folder) for folder in (environ.get("VIRTUAL_ENV", ""), running) if folder]
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
    progress: Progress | None = None,
) -> Path:
    """Compile `onnx` (the ascend ending) and return the OM: `model.om` or `model_linux_<arch>.om` in `output_dir`.

    What atc prints is in `output_dir/atc.log`, the AIPP configuration in `aipp.cfg`, the fusion rules that it applied in
    `fusion_result.json` (older releases write none, and with ASCEND_WORK_PATH set it goes elsewhere); its other side files go to
    a scratch folder that is removed. Where atc would refuse a path, it works in a plain one. An OM that was in `output_dir` is
    removed first: one left there after a failure is never an old or a half-written one. `progress` is called once a second.
    `AtcError` if atc is missing, fails, exceeds `timeout_s` seconds or writes nothing; it names the log, which is copied to
    `failed_log` then, for callers that remove `output_dir`.
    """
    atc = _atc_of(toolkit)
    onnx, output_dir = onnx.absolute(), output_dir.absolute()
    if not onnx.is_file():
        raise AtcError(f"there is no ONNX model at {onnx}", "export it first")
    output_dir.mkdir(parents=True, exist_ok=True)
    check_options(options)
    _remove_oms(output_dir)
    (output_dir / FUSION_NAME).unlink(missing_ok=True)
    log = output_dir / LOG_NAME
    hint = f"log: {failed_log.absolute() if failed_log else log}"
    try:
        with PlainPaths(log) as plain:
            made = plain.folder(output_dir)
            arguments = command(atc, plain.file(onnx), made / OM_STEM, contract, options)
            if options.aipp:
                (made / CONFIG_NAME).write_text(aipp_config(contract), encoding="utf-8")
            with tempfile.TemporaryDirectory(prefix="atc-", dir=made) as scratch:
                tick = None if progress is None else partial(progress, log)
                text = _run(arguments, log, timeout_s, Path(scratch), hint, tick)
                if (fusion := Path(scratch) / FUSION_NAME).is_file():
                    shutil.copyfile(fusion, made / FUSION_NAME)
            om = _finished_om(made, text, hint)
        return output_dir / om.name
    except BaseException:
        _remove_oms(output_dir)
        if failed_log and log.is_file():
            failed_log.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, failed_log)
        raise


def om_info(toolkit: Toolkit, om: Path) -> dict[str, str]:
    """What an OM says about its making: `soc_version`, `atc_version`, `framework_type`, `command_line` and sizes.

    Meant for OMs that were built elsewhere. `AtcError` if atc cannot read the file or names no soc_version.
    """
    atc = _atc_of(toolkit)
    if not om.is_file():
        raise AtcError(f"there is no OM at {om}", "pass the path of an .om file")
    again = f"again: {shlex.join([str(atc), '--mode=6', f'--om={om.absolute()}'])}"
    with PlainPaths() as plain:
        arguments = [str(atc), "--mode=6", f"--om={plain.file(om.absolute())}"]
        text = _describe(arguments, 300, again)
    info = parse_om_info(text)
    if not info.get("soc_version"):
        raise AtcError(f"atc says nothing about the chip that {om} was compiled for", "compile the model again")
    return info


def parse_om_info(text: str) -> dict[str, str]:
    """The fields in what `atc --mode=6` prints, and the original command as `command_line`; whatever the text is."""
    original = _INFO_COMMAND.search(text)
    info = {name: value.strip() for name, value in _INFO_FIELD.findall(_INFO_COMMAND.sub("", text))}
    return {**info, "command_line": original[1].strip() if original else ""}


def om_json(toolkit: Toolkit, om: Path, target: Path) -> Path:
    """Write the OM's attributes and operators as JSON to `target` (`atc --mode=1`), without its weights; returns `target`.

    `AtcError` if atc cannot read the OM or writes nothing.
    """
    atc = _atc_of(toolkit)
    if not om.is_file():
        raise AtcError(f"there is no OM at {om}", "pass the path of an .om file")
    target = target.absolute()
    target.unlink(missing_ok=True)
    again = f"again: {shlex.join([str(atc), '--mode=1', f'--om={om.absolute()}', f'--json={target}'])}"
    with PlainPaths() as plain:
        made = plain.folder(target.parent) / target.name
        arguments = [str(atc), "--mode=1", f"--om={plain.file(om.absolute())}", f"--json={made}"]
        _describe(arguments, 600, again)
        if not made.is_file() or not made.stat().st_size:
            raise AtcError(f"atc ended with status 0, but wrote no {target.name}", again)
    return target


def _describe(arguments: list[str], timeout_s: float, hint: str) -> str:
    """What atc prints about an OM."""
    with tempfile.TemporaryDirectory(prefix="fcos-om-") as folder:
        return _run(arguments, Path(folder) / LOG_NAME, timeout_s, Path(folder), hint)


def _atc_of(toolkit: Toolkit) -> Path:
    if toolkit.atc is None:
        raise AtcError(
            "atc was not found in the toolkit's folders or on PATH",
            "install CANN and source its set_env.sh, or set ASCEND_TOOLKIT_HOME",
        )
    return toolkit.atc.absolute()


def _run(
    arguments: list[str],
    log: Path,
    timeout_s: float,
    scratch: Path,
    hint: str,
    tick: Callable[[float], None] | None = None,
) -> str:
    """The output of an `atc` that ended with status 0; the success phrase is no criterion, warnings may follow it."""
    environment = clean_environment(os.environ)
    try:
        status = run_tool(arguments, log=log, timeout_s=timeout_s, cwd=scratch, env=environment, tick=tick)
    except TimedOut:
        raise AtcError(
            f"atc did not finish within {timeout_s:g} s and was killed",
            f"allow more time (--atc-time-limit MINUTES), or set TE_PARALLEL_COMPILER to the number of cores; {hint}",
        ) from None
    except OSError as error:
        raise AtcError(f"{arguments[0]} cannot be started ({error})", "reinstall the toolkit") from error
    text = read_output(log)
    if status != 0:
        sentence, advice = diagnose(status, text, scratch)
        raise AtcError(sentence, f"{advice}; {hint}" if advice else hint)
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
    """The OM that atc wrote, of a mode in which newer aclruntime loads it: nobody else may change it, whatever the umask."""
    written = sorted(_oms(output_dir), key=lambda path: path.stat().st_mtime_ns)
    if not written:
        said = "and claims success" if "ATC run success" in text else "without its success line"
        raise AtcError(
            f"atc ended with status 0 {said}, but wrote no {OM_STEM}.om", f"check that the disk is not full; {hint}"
        )
    if written[-1].stat().st_size == 0:
        raise AtcError(f"atc wrote an empty {written[-1].name}", f"check that the disk is not full; {hint}")
    written[-1].chmod(_OM_MODE)
    return written[-1]
