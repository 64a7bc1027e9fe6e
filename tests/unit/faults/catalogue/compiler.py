"""Faults of `atc`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.unit.faults.fault import Fault
from tests.unit.faults.stage import GATE, Said, Stage

COMPILE = """
from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.artifacts.om import om_artifact
from fcos_lib.ascend.atc_command import AtcOptions
from fcos_lib.contract import SHAPES
from fcos_lib.device.npus import use_emulator
from fcos_lib.store.artifacts import Store
from fixtures.settings import EMBEDDED_CHECKPOINT
store, device = Store(artifacts), use_emulator(artifacts / "emulator")[0]
onnx = onnx_artifact(store, SHAPES, EMBEDDED_CHECKPOINT)
judged(lambda: om_artifact(store, onnx, SHAPES, device.toolkit, AtcOptions(device.soc_version, 2), LIMIT).path)
"""


def _scenario(stage: Stage, scenario: str) -> Said:
    return stage.suite(scenario=scenario)


def _not_executable(stage: Stage) -> Said:
    for path in _programs(stage, "atc"):
        path.chmod(0o644)
    return stage.suite()


def _missing(stage: Stage) -> Said:
    for path in _programs(stage, "atc"):
        path.unlink()
    return stage.suite()


def _programs(stage: Stage, name: str) -> list[Path]:
    """The emulator's wrappers, as copies: the prepared ones are links."""
    found = [path for path in (stage.artifacts / "emulator").rglob(name) if path.parent.name == "bin"]
    for path in found:
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
        path.chmod(0o755)
    assert found
    return found


def _hang(stage: Stage) -> Said:
    return stage.program(COMPILE.replace("LIMIT", "2"), scenario="atc=hang")


def _killed_with_us(stage: Stage) -> Said:
    run = stage.start(*GATE, scenario="atc=hang")
    run.until(lambda: stage.process("emulator.atc"))
    run.kill()
    return run.ended()


def _no_om(stage: Stage, said: Said) -> None:
    assert not list((stage.artifacts / "om").glob("[!.]*")), "an OM was kept"


def _fault(name: str, what: str, scenario: str, *says: str, status: int = 8) -> Fault:
    return Fault(
        name, what, status, says, partial(_scenario, scenario=scenario), again="green",
        after="no OM is kept", check=_no_om, without=("om",),
    )  # fmt: skip


UNKNOWN = """
import onnx
from fcos_lib.artifacts import ASCEND
from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.ascend.atc import compile_om
from fcos_lib.ascend.atc_command import AtcOptions
from fcos_lib.contract import SHAPES
from fcos_lib.device.npus import use_emulator
from fcos_lib.store.artifacts import Store
from fixtures.settings import EMBEDDED_CHECKPOINT
device = use_emulator(artifacts / "emulator")[0]
model = onnx.load(onnx_artifact(Store(artifacts), SHAPES, EMBEDDED_CHECKPOINT).path / ASCEND)
for node in model.graph.node:
    if node.name in ("/backbone/relu/Relu", "/backbone/maxpool/MaxPool"):
        node.op_type += "Plus"
onnx.save(model, folder / "unknown.onnx")
options = AtcOptions(device.soc_version, 2)
judged(lambda: compile_om(device.toolkit, folder / "unknown.onnx", folder / "out", SHAPES, options))
"""

FAULTS = (
    Fault("atc_unknown_operators", "the model has two operators that this CANN does not know", 8,
          ("node '/backbone/relu/Relu', module backbone.relu, ai.onnx::11::ReluPlus",
           "node '/backbone/maxpool/MaxPool', module backbone.maxpool, ai.onnx::11::MaxPoolPlus"),
          lambda stage: stage.program(UNKNOWN)),
    _fault("atc_fails", "atc fails with an error code", "atc=fail:E10041", "atc ended with status 255: E10041"),
    _fault("atc_exit_255", "atc ends with 255 and not a word", "atc=exit255", "atc ended with status 255"),
    _fault("atc_killed", "atc is killed, as by the kernel when memory runs out", "atc=crash", "signal 9"),
    _fault("atc_no_file", "atc announces success and writes no file", "atc=no_file", "claims success, but wrote no model.om"),
    Fault("atc_half_file", "atc announces success, and half of the OM is there", 1,
          ("load model from data failed", "has it compiled again"), partial(_scenario, scenario="atc=half_file"), without=("om",)),
    Fault("atc_other_name", "the OM is called `<output>_linux_<arch>.om`", 0, ("1 built, 1 reused",),
          partial(_scenario, scenario="atc=arch_suffix"), after="it is found, and tested", without=("om",)),
    Fault("atc_hangs", "atc never ends", 8, ("atc did not finish within 2 s and was killed",), _hang, again="green",
          after="no OM is kept, and nothing that atc started runs", check=_no_om, without=("om",)),
    Fault("atc_missing", "there is no atc", 8, ("atc not found",), _missing, without=("om",)),
    Fault("atc_not_executable", "atc may not be executed", 8, ("atc not found",), _not_executable, without=("om",)),
    Fault("atc_survives_us", "the run is killed (-9) while atc hangs", -9, (), _killed_with_us, again="green",
          after="atc is ended by the watchdog; no OM is kept", check=_no_om, without=("om",)),
)  # fmt: skip
