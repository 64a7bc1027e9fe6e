"""Doctor: what is here for a run on an NPU, what the recipe named, and what is missing. One screen; imports nothing heavy."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fcos_lib.ascend.npu_smi import read_board, read_info, read_logical_ids, soc_version, visible_ids
from fcos_lib.ascend.npu_tables import Npu, parse_info, parse_versions
from fcos_lib.ascend.probe import Runtime, probe_runtime
from fcos_lib.ascend.toolkit import UNKNOWN, Toolkit, discover, has_aclruntime, set_env_script
from fcos_lib.contract import CONTRACTS
from fcos_lib.contract import EMBEDDED as EMBEDDED_CONTRACTS
from fcos_lib.device.npus import find_device
from fcos_lib.errors import DeviceError

RECIPE = {"driver": "22.0.3", "CANN": "6.0.RC1", "NPU": "310P3", "Python": "3.7.5", "torch": "1.6.0"}
"""What the ModelZoo FCOS README of January 2023 was measured with."""

NEEDED = ("numpy", "onnx", "onnxruntime", "opencv-python", "pycocotools")
FOR_EXPORT = ("torch", "mmdet", "mmengine", "mmcv-lite")

EMBEDDED = Path(__file__).parents[2] / "fixtures" / "shapes"
"""The embedded default, in a checkout only."""

_SHOWN_NPUS = 4
_NEWEST_WHEEL = (3, 12)
_ABSENT = "not found"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for."""

    name: str
    here: str
    recipe: str = ""
    """What the recipe named, if it did."""
    advice: str = ""
    """How to get it; empty if nothing is missing."""


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything that was looked for, and whether an NPU run is possible."""

    findings: tuple[Finding, ...]
    possible: bool
    because: str
    advice: str = ""


def examine(device_id: int = 0) -> Examination:
    """Look at this machine and this environment; nothing is changed and nothing is raised."""
    toolkit = discover(os.environ)
    runtime, failure = _runtime()
    findings = (
        *_programs(toolkit),
        _aclruntime(runtime, failure),
        Finding("CANN", toolkit.cann_version, RECIPE["CANN"]),
        *_driver_and_npus(toolkit),
        Finding("Python", f"{platform.python_version()} on {platform.machine()}", RECIPE["Python"]),
        *_packages(),
        *_models(),
    )
    try:
        device = find_device(device_id)
    except DeviceError as error:
        return Examination(findings, False, error.found, error.advice)
    if failure:
        script = set_env_script(toolkit)
        source = f"source {script}; otherwise " if script else ""
        return Examination(findings, False, failure.found, f"{source}{failure.advice}")
    if device.stand_in:
        return Examination(
            findings, False, "the CANN found here is the emulator (STAND-IN)", "source the set_env.sh of a real CANN"
        )
    if runtime and runtime.devices is not None and device.device_id >= runtime.devices:
        return Examination(
            findings,
            False,
            f"npu-smi lists device {device.device_id}, and ACL sees {runtime.devices} devices",
            "check that /dev/davinci* of this device is there and yours to open; in a container, pass it",
        )
    health = device.npu.health if device.npu else "unknown"
    return Examination(findings, True, f"device {device.device_id} is an {device.soc_version}, {health}")


def as_lines(examination: Examination) -> list[str]:
    """The examination as a screen of text: what is here, what is missing and how to get it, and the conclusion."""
    rows = [("", "here", "the recipe named")]
    rows += [(finding.name, finding.here, finding.recipe) for finding in examination.findings]
    widths = [max(len(row[0]) for row in rows), min(84, max(len(row[1]) for row in rows))]
    lines = [f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}".rstrip() for row in rows]
    missing = [f"  {finding.name}: {finding.advice}" for finding in examination.findings if finding.advice]
    if missing:
        lines += ["", "missing", *missing]
    lines += ["", f"an NPU run is {'possible' if examination.possible else 'not possible here'}: {examination.because}"]
    lines += [f"  → {examination.advice}"] if examination.advice else []
    if not examination.possible:
        lines.append("  → or try everything on the emulator with --npu emulated; its results are STAND-IN")
    return lines


def _programs(toolkit: Toolkit) -> Iterator[Finding]:
    here = str(toolkit.npu_smi or _ABSENT)
    advice = "" if toolkit.npu_smi else "comes with the NPU driver; in a container, mount the driver and npu-smi"
    yield Finding("npu-smi", here, advice=advice)
    advice = "" if toolkit.atc else "install the CANN toolkit and source its set_env.sh before Python starts"
    yield Finding("atc", str(toolkit.atc or _ABSENT), advice=advice)


def _runtime() -> tuple[Runtime | None, DeviceError | None]:
    """What a trial of aclruntime showed, or why it cannot be used; neither if it is not installed."""
    try:
        return (probe_runtime() if has_aclruntime() else None), None
    except DeviceError as error:
        return None, error


def _aclruntime(runtime: Runtime | None, failure: DeviceError | None) -> Finding:
    if failure:
        return Finding("aclruntime", "there, and cannot be used", advice=failure.advice)
    if runtime:
        seen = "" if runtime.devices is None else f", sees {runtime.devices} devices"
        return Finding("aclruntime", f"{_version('aclruntime') or 'no version'}, {runtime.generation}{seen}")
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    wheel = f"aclruntime-0.0.2-{tag}-{tag}-linux_{platform.machine()}.whl"
    advice = f"pip install {wheel} from ais_bench's downloads (gitee.com/ascend/tools); no registry has it"
    if sys.version_info[:2] > _NEWEST_WHEEL:
        advice = "ais_bench has no wheel for this Python: use 3.10 to 3.12, or build it with CANN"
    return Finding("aclruntime", _ABSENT, advice=advice)


def _driver_and_npus(toolkit: Toolkit) -> Iterator[Finding]:
    driver, npus, advice = toolkit.driver_version, [], ""
    if toolkit.npu_smi:
        try:
            text = read_info(toolkit)
            npus = parse_info(text)
            driver = parse_versions(text)[1] if driver == UNKNOWN else driver
            advice = "" if npus else "npu-smi lists none: look at npu-smi info and lspci"
        except DeviceError as error:
            advice = f"{error.found}: {error.advice}"
    yield Finding("driver", driver, RECIPE["driver"])
    if not npus:
        yield Finding("NPU", "none", RECIPE["NPU"], advice)
    numbers = _numbers(toolkit, npus)
    for position, npu in enumerate(npus[:_SHOWN_NPUS]):
        more = f", and {len(npus) - _SHOWN_NPUS} more" if position == _SHOWN_NPUS - 1 < len(npus) - 1 else ""
        yield Finding(
            f"NPU {npu.npu_id} chip {npu.chip_id}", f"{numbers[position]}{_npu(toolkit, npu)}{more}", RECIPE["NPU"]
        )


def _numbers(toolkit: Toolkit, npus: Sequence[Npu]) -> list[str]:
    """What ACL calls each chip, such as `device 0, `: its index, and the logical id where that is another number."""
    try:
        logical_ids = read_logical_ids(toolkit, npus)
        visible = visible_ids(os.environ, logical_ids)
    except DeviceError:  # which is the conclusion
        return ["" for _ in npus]
    return [
        f"device {visible.index(number)}{f' (logical {number})' if visible.index(number) != number else ''}, "
        if number in visible
        else f"logical {number}, not visible, "
        for number in logical_ids
    ]


def _npu(toolkit: Toolkit, npu: Npu) -> str:
    """Name, health, memory and what atc calls the chip."""
    try:
        chip = soc_version(npu, read_board(toolkit, npu) if npu.name.startswith("Ascend") else None)
    except DeviceError as error:
        chip = f"no soc_version ({error.found})"
    return f"{npu.name}, {npu.health}, {npu.memory_used_mb} of {npu.memory_total_mb} MB used, {chip}"


def _packages() -> Iterator[Finding]:
    for title, names, extra in (("packages", NEEDED, "."), ("for export", FOR_EXPORT, ".[export]")):
        versions = {name: _version(name) for name in names}
        missing = [name for name, number in versions.items() if number is None]
        yield Finding(
            title,
            ", ".join(f"{name} {number}" for name, number in versions.items() if number) or _ABSENT,
            f"torch {RECIPE['torch']}" if "torch" in names else "",
            f"pip install -e '{extra}' -c constraints.txt, for {', '.join(missing)}" if missing else "",
        )


def _models() -> Iterator[Finding]:
    yield Finding(
        "contracts",
        ", ".join(
            f"{contract.name} {contract.height} x {contract.width} with {len(contract.classes)} classes"
            for contract in CONTRACTS.values()
        ),
    )
    checkpoints = [f"fcos_{name}.pth" for name in EMBEDDED_CONTRACTS]
    complete = all((EMBEDDED / name).exists() for name in ("annotations", "val2017", *checkpoints))
    yield Finding(
        "embedded default",
        str(EMBEDDED) if complete else _ABSENT,
        advice="" if complete else "it is in a checkout of the repository only; pass --dataset and --checkpoint",
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
