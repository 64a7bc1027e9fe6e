"""Faults of the machine before anything runs, asked for with `--npu required`, which lets nothing take its place."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fcos_lib.emulator.install import environment, install
from tests.unit.faults.fault import Fault
from tests.unit.faults.stage import Said, Stage


def _server(
    stage: Stage, *options: str, scenario: str = "", change: Callable[[Path, dict[str, str]], object] | None = None
) -> Said:
    root = install(stage.folder / "server")
    environ = environment(root)
    for name in ("PATH", "PYTHONPATH"):  # where gates that ran in this process have left their own software CANN
        entries = environ[name].split(os.pathsep)
        entries = [entry for entry in entries if entry.startswith(str(root)) or "cann-stand-in" not in entry]
        environ[name] = os.pathsep.join(entries)
    if change:
        change(root, environ)
    return stage.suite(
        "contract", "--npu", "required", "--collect-only", *options, scenario=scenario, environment=environ
    )


def _without(*names: str) -> Callable[[Path, dict[str, str]], None]:
    def change(root: Path, environ: dict[str, str]) -> None:
        for name in names:
            for path in list(root.rglob(name)):
                path.unlink()

    return change


def _visible(root: Path, environ: dict[str, str], text: str) -> None:
    environ["ASCEND_RT_VISIBLE_DEVICES"] = text


def _called_real(root: Path, environ: dict[str, str]) -> None:
    """The tree takes its runtime for its own, and its version for CANN's."""
    for path in root.rglob("version.*"):
        path.write_text(re.sub(r"-STAND-IN\.\w+", "", path.read_text()))


IMPORT = """
import sys
sys.path.insert(0, str(folder))
(folder / "aclruntime.py").write_text(CONTENT)
from fcos_lib.ascend.om_session import OmSession
from fcos_lib.contract import SHAPES
(om,) = (artifacts / "om").glob("*/model.om")
judged(lambda: OmSession(om, SHAPES, 2))
"""


def _imported(stage: Stage, content: str) -> Said:
    return stage.program(IMPORT.replace("CONTENT", repr(content)))


def _fault(name: str, what: str, *says: str, **how: object) -> Fault:
    return Fault(name, what, 4, says, partial(_server, **how))  # type: ignore[arg-type]


FAULTS = (
    _fault("npu_smi_absent", "npu-smi ends with 127: command not found", "npu-smi or a library of the driver is missing",
           scenario="npu_smi=absent"),
    _fault("npu_smi_missing", "there is no npu-smi at all", "npu-smi not found", change=_without("npu-smi")),
    _fault("npu_smi_187", "the driver cannot be reached (npu-smi 187)", "the NPU driver cannot be reached (dcmi -8005)", scenario="npu_smi=187"),
    _fault("npu_smi_172", "another container uses the device (npu-smi 172)", "the NPU is in use by another container (dcmi -8020)", scenario="npu_smi=172"),
    _fault("npu_smi_no_card", "the driver runs, and no card is there", "npu-smi does not list any device", scenario="npu_smi=none"),
    _fault("npu_smi_garbage", "npu-smi prints a table that no driver has", "npu-smi's table of chips cannot be read: | NPU-ID", scenario="npu_smi=garbage"),
    Fault("device_id_unknown", "`--device-id 7` on a server with two", 4, ("npu-smi does not list device 7",),
          lambda stage: _server(stage, "--device-id", "7")),
    *(
        _fault(f"visible_{name}", f"`ASCEND_RT_VISIBLE_DEVICES='{text}'` on a server with two", "ASCEND_RT_VISIBLE_DEVICES is", words,
               change=partial(_visible, text=text))
        for name, text, words in (
            ("blank", "0, 1", "it has a blank in it"),
            ("gap", "0,,1", "it has a gap in it"),
            ("unknown", "0,2", "there is no device 2"),
            ("descending", "1,0", "it is not in ascending order"),
        )
    ),
    Fault("device_id_masked", "`--device-id 1` where one of two is visible", 4,
          ("npu-smi does not list device 1; it lists 0 (310P3), and ASCEND_RT_VISIBLE_DEVICES leaves 1 of 2 visible",),
          lambda stage: _server(stage, "--device-id", "1", change=partial(_visible, text="1"))),
    _fault("no_atc_required", "there is no atc", "atc not found", change=_without("atc")),
    _fault("no_aclruntime", "the wheel is not installed", "the Python module aclruntime not found",
           change=_without("aclruntime.py")),
    _fault("aclruntime_emulated", "the emulator's runtime was left in front of a real CANN", "the Python module aclruntime is the emulator's",
           change=_called_real),
    Fault("aclruntime_broken", "aclruntime does not find CANN's libraries", 8, ("aclruntime cannot be imported (libascendcl.so", "source set_env.sh"),
          partial(_imported, content="raise ImportError('libascendcl.so: cannot open shared object file')")),
    Fault("aclruntime_glibc", "aclruntime was built for a newer libstdc++", 8, ("aclruntime cannot be imported (version `GLIBCXX_3.4.29", "libstdc++ comes first"),
          partial(_imported, content="raise ImportError(\"version `GLIBCXX_3.4.29' not found\")")),
)  # fmt: skip
