"""Which machine, and which misfortune, does the emulator play? `FCOS_EMULATOR`, read by all three programs.

A comma-separated list of `key` or `key=value`; unset plays a healthy server with two 310P3 cards. There is no other
switch and no hidden behaviour.

chip=310P3            the server: 310P3 (default), 310, 310P3-duo, 310B4, 910A, 910B, 910B4, A3
npu_smi=absent        the command is not installed (exit 127)
npu_smi=187           the driver cannot be reached (dcmi -8005)
npu_smi=172           another container uses the device (dcmi -8020)
npu_smi=none          the driver runs, and there is no card
npu_smi=garbage       a table with columns that no driver prints
atc=fail[:CODE]       the failure block with that code (E19999)
atc=exit255           exit status 255 and not a word of explanation
atc=hang              never ends
atc=crash             killed, as by the kernel when memory runs out (137 in a shell)
atc=no_file           success is announced and no OM written
atc=half_file         success is announced and the OM cut in half
atc=arch_suffix       the OM is called `<output>_linux_<arch>.om`
atc=w11001            warnings follow the success line
load=soc              a sound OM is refused as built for another chip, in the words of CANN 8
load=soc_old          the same in the words of CANN 6
load=opp              a sound OM is refused as built with another operator package
run=fail              every execution fails
run=nan               the first row of every float output is NaN
run=short             every output lacks its last row
generation=old        aclruntime as of 2023: float times, `finalize` of the instance, nothing checked before loading
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from fcos_lib.errors import UsageError

VARIABLE = "FCOS_EMULATOR"

ChipName = Literal["310P3", "310", "310P3-duo", "310B4", "910A", "910B", "910B4", "A3"]
Smi = Literal["ok", "absent", "187", "172", "none", "garbage"]
Atc = Literal["ok", "fail", "exit255", "hang", "crash", "no_file", "half_file", "arch_suffix", "w11001"]
Load = Literal["ok", "soc", "soc_old", "opp"]
Run = Literal["ok", "fail", "nan", "short"]
Generation = Literal["new", "old"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """What `FCOS_EMULATOR` asks for; the module's first lines say what each value does."""

    chip: ChipName = "310P3"
    npu_smi: Smi = "ok"
    atc: Atc = "ok"
    atc_code: str = "E19999"
    """The error code of `atc=fail`."""
    load: Load = "ok"
    run: Run = "ok"
    generation: Generation = "new"


def parse(text: str) -> Scenario:
    """The scenario that `text` describes; `UsageError` for a key or a value that does not exist."""
    choices = {key: get_args(kind) for key, kind in get_type_hints(Scenario).items() if get_args(kind)}
    chosen: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = item.partition("=")
        if key == "atc" and value.startswith("fail:"):
            value, _, chosen["atc_code"] = value.partition(":")
        if value not in choices.get(key, ()):
            known = "; ".join(f"{name}={'|'.join(values)}" for name, values in choices.items())
            raise UsageError(f"{VARIABLE} has '{item}', which the emulator does not know", f"known are {known}")
        chosen[key] = value
    return Scenario(**chosen)  # type: ignore[arg-type]


def current() -> Scenario:
    """The scenario of this process's environment; `UsageError` if it cannot be understood."""
    return parse(os.environ.get(VARIABLE, ""))
