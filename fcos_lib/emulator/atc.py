"""`atc` in software: modes 0 (compile an ONNX), 1 (an OM as JSON) and 6 (show an OM).

stdout has the start line, then `ATC run success` or `ATC run failed` and the error block; the exit status is 0 or 255.
Options that would change the model in ways that are not imitated are refused with E10055 rather than ignored.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fcos_lib.emulator import CANN_VERSION, STAND_IN
from fcos_lib.emulator.atc_errors import (
    HARMLESS,
    NOT_MODELLED,
    ROUNDING_MODES,
    AtcError,
    check,
    dynamic_batches,
    input_shapes,
    precision_mode,
)
from fcos_lib.emulator.scenario import Scenario, current
from fcos_lib.errors import SessionError, UsageError

if TYPE_CHECKING:
    import onnx

    from fcos_lib.emulator.om import Om

FAILED = 255
DEFAULTS = {
    "mode": "0", "framework": "", "model": "", "weight": "", "output": "", "soc_version": "", "input_format": "NCHW",
    "precision_mode": "", "precision_mode_v2": "", "op_select_implmode": "", "log": "null", "om": "", "json": "",
}  # fmt: skip
"""Options with a meaning here, and what they are when absent; every other option is left out of the mapping."""
_MODELLED = frozenset(DEFAULTS) | {"dynamic_batch_size", "input_shape", "insert_op_conf", "out_nodes", "help"}
NAMES = tuple(sorted(_MODELLED | HARMLESS | NOT_MODELLED))


class CommandLineError(Exception):
    """A command line that cannot be read; the text is what goes to stderr."""


def parse(arguments: list[str]) -> dict[str, str]:
    """The options that were given, by full name; `help` ends the reading. `CommandLineError` as atc words it."""
    options: dict[str, str] = {}
    words: list[str] = []
    rest = list(arguments)
    while rest:
        typed, equals, value = rest.pop(0).partition("=")
        if not typed.startswith("--"):
            words.append(typed + equals + value)
            continue
        name = _full_name(typed[2:])
        if name == "help":
            return options | {"help": ""}
        if not equals:
            if not rest:
                raise CommandLineError(f"ERROR: flag '{typed}' is missing its argument")
            value = rest.pop(0)
        options[name] = value
    if words:
        raise CommandLineError("\n".join(f"ERROR: Non-option parameter: {word}" for word in words))
    return options


def _full_name(typed: str) -> str:
    """The option that was typed in full or by a beginning that only one has."""
    matches = [name for name in NAMES if name.startswith(typed)]
    if typed in matches or len(matches) == 1:
        return typed if typed in matches else matches[0]
    raise CommandLineError(f"ERROR: unknown command line flag '{typed}'")


def _load(path: Path) -> onnx.ModelProto:
    import onnx

    try:
        return onnx.load(str(path))
    except Exception as error:  # protobuf's DecodeError, OSError, or what external weights raise
        raise AtcError("E10041", path) from error


def build(options: dict[str, str], command: str, scenario: Scenario) -> Path | None:
    """Compile and write the OM and its side files; the path of the OM, None if the scenario forbids it."""
    from fcos_lib.emulator import kernels, om
    from fcos_lib.emulator.compile import compile_onnx
    from fcos_lib.emulator.install import version

    mode = precision_mode(options)
    out_nodes = [name for name in options.get("out_nodes", "").split(";") if name]
    batches = dynamic_batches(options)
    shapes = input_shapes(options.get("input_shape", ""), lowest=-1 if batches else 1)
    graphs, interface = compile_onnx(_load(Path(options["model"])), shapes, out_nodes, mode in ROUNDING_MODES)
    step = None
    if conf := options.get("insert_op_conf"):
        fed, *others = interface.inputs
        step = kernels.read_aipp_config(Path(conf), fed.shape)
        bytes_ = om.TensorDesc(fed.name, "uint8", (fed.shape[0], step.height, step.width, 3), nhwc=True)
        interface = replace(interface, inputs=(bytes_, *others))
    header = om.OmHeader(
        **{field.name: getattr(interface, field.name) for field in fields(interface)},
        command=command,
        soc_version=options["soc_version"],
        atc_version=version(),
        precision_mode=mode,
        aipp=step,
        batches=batches,
        time_factor=None if scenario.om_slower is None else 1 + scenario.om_slower / 100,
    )
    Path("kernel_meta").mkdir(exist_ok=True)
    Path("fusion_result.json").write_text(json.dumps(om.fusion_result(*graphs), indent=4))
    if scenario.atc == "no_file":
        return None
    suffix = f"_linux_{platform.machine()}" if scenario.atc == "arch_suffix" else ""
    path = Path(f"{options['output']}{suffix}.om")
    path.parent.mkdir(parents=True, exist_ok=True)
    each, before, after = (graph.SerializeToString() if graph else b"" for graph in graphs)
    om.write(path, om.Om(header, (each, before, after)))
    if scenario.atc == "half_file":
        os.truncate(path, path.stat().st_size // 2)
    return path


def display(options: dict[str, str]) -> str:
    """What `--mode=6 --om=X` prints; `AtcError` if there is no such OM or it is damaged."""
    om = _read_om(options)
    header, size = om.header, sum(map(len, om.graphs))
    return (
        "============ Display Model Info start ============\n"
        f"Original Atc command line: {header.command}\n"
        f"system   info: atc_version[{header.atc_version}], soc_version[{header.soc_version}], framework_type[5].\n"
        f"resource info: memory_size[0 B], weight_size[{size} B], stream_num[1], event_num[0].\n"
        f"om       info: modeldef_size[{size} B], weight_data_size[{size} B], tbe_kernels_size[0 B], "
        "cust_aicpu_kernel_store_size[0 B], task_info_size[0 B].\n"
        "============ Display Model Info end   ============"
    )


def write_json(options: dict[str, str]) -> None:
    """What `--mode=1 --om=X --json=Y` writes; `AtcError` if there is no such OM."""
    from fcos_lib.emulator.om import om_as_json

    Path(options["json"]).write_text(json.dumps(om_as_json(_read_om(options)), indent=2))


def _read_om(options: dict[str, str]) -> Om:
    from fcos_lib.emulator import om

    try:
        return om.read(Path(options["om"]))
    except SessionError as error:
        raise AtcError("E10041", options["om"]) from error


def _misfortune(scenario: Scenario) -> None:
    """The scenarios in which atc never comes to its work."""
    if scenario.atc == "hang":
        while True:
            time.sleep(3600)
    if scenario.atc == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if scenario.atc == "exit255":
        sys.exit(FAILED)
    if scenario.atc == "fail":
        raise AtcError(scenario.atc_code)


def _say(text: str) -> None:
    print(text, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run one command line; returns atc's exit status (2 if `FCOS_EMULATOR` cannot be understood)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        scenario = current()
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    _say("ATC start working now, please wait for a moment.")
    try:
        given = parse(arguments)
        if "help" in given:
            _say(f"usage: atc <args>\nA {STAND_IN} of CANN {CANN_VERSION}; options:")
            _say("\n".join(f"  --{name}" for name in NAMES))
            return 0
        options = DEFAULTS | given
        _misfortune(scenario)
        if options["mode"] == "6":
            _say(display(options))
        elif options["mode"] == "0":
            check(options)
            build(options, " ".join(["atc.bin", *arguments]), scenario)
        elif options["mode"] == "1":
            write_json(options)
        else:
            raise AtcError("E10055", f"the stand-in has no --mode={options['mode']}")
    except CommandLineError as error:
        print(error, file=sys.stderr, flush=True)
        return _fail(AtcError("E19999"))
    except AtcError as error:
        return _fail(error)
    _say("...\nATC run success, welcome to the next use.")
    return 0


def _fail(error: AtcError) -> int:
    _say("ATC run failed, Please check the detail log, Try 'atc --help' for more information")
    _say(error.text())
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
