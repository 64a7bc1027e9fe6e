"""The server and the misfortune that the emulator plays: `FCOS_EMULATOR`, read by all three programs.

A comma-separated list of `key` or `key=value`; unset plays a healthy server with two 310P3 cards. There is no other
switch and no hidden behaviour.

chip=310P3            the server: 310P3 (default), 910B4, A3
cards=1               one card, where the server has more
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
om_slower=8           the OM that atc writes is another file, and its runs take 8 % longer where there is a rate; 0 makes
                      another file of the same speed, less than 0 a faster one. The artifact store takes two such OMs for
                      the same one: each needs a folder of its own, or the other deleted
load=soc              a sound OM is refused as built for another chip, in the words of CANN 8
load=soc_old          the same in the words of CANN 6
load=opp              a sound OM is refused as built with another operator package
run=fail[:N]          every execution fails, or every one after N that went well in the same process; N as in all that follow
run=fail_once         the first execution of a process fails, and no other
run=lost[:N]          the device loses its heartbeat and stays away: nothing loads any more, and npu-smi lists no card
run=oom[:N]           the device has no memory left for an execution
run=aicpu[:N]         a kernel on the AI CPU fails
run=hang[:N]          an execution never ends, and holds the GIL all the while
run=wrong[:N]         all boxes are 8 pixels too far to the right
run=nan[:N]           the first row of every float output is NaN
run=inf[:N]           the first row of every float output is infinite
run=short[:N]         every output lacks its last row
generation=old        aclruntime as of 2023: float times, `finalize` of the instance, nothing checked before loading
generation=0.0.3      aclruntime 0.0.3: as the default, that of 2024, but `reset_summaryinfo` with two m
rate=65.5             images per second: the reported compute time of a run is batch / rate, and run() takes at least that
                      long with the GIL held. Computing that takes longer is waited for and not reported. The new
                      generation's times are float32 since the load, so that they coarsen as the session ages: a duration is
                      off by up to 0.004 ms after a minute and 0.06 ms after 17
jitter=0.5            with a rate: that time varies from run to run, by this standard deviation in %, 0 to 10; no two sessions
                      or processes draw the same
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, replace
from typing import Literal, get_args, get_origin, get_type_hints

from fcos_lib.errors import UsageError

VARIABLE = "FCOS_EMULATOR"
_CHIP = re.compile(r"^\| (\d+) +(\S+) +\| [A-Z]+ .*\n\| (\d+) ", re.MULTILINE)
_HEAD, _LINES_OF_CHIP, _LINES_OF_PROCESSES = 6, 3, 5
"""Lines of a table before its first chip, of each chip with its rule, and of the second table up to its first card."""


@dataclass(frozen=True, slots=True)
class Chip:
    """One kind of server."""

    soc_version: str
    """What `atc --soc_version` must be for it, and what the runtime accepts."""
    table: str
    """What `npu-smi info` prints."""
    npu_name: str = ""
    """The `NPU Name` of `npu-smi info -t board`; only A3 has one."""

    @property
    def name(self) -> str:
        """The `Chip Name` of `npu-smi info -t board`."""
        return str(_CHIP.findall(self.table)[0][1])

    @property
    def ids(self) -> list[tuple[int, int]]:
        """(NPU id, chip id) of every chip; the position is the logical id."""
        return [(int(npu), int(chip)) for npu, _, chip in _CHIP.findall(self.table)]

    @property
    def logical_ids(self) -> str:
        """What `npu-smi info -m` prints."""
        rows = [("NPU ID", "Chip ID", "Chip Logic ID", "Chip Name")]
        rows += [(str(npu), str(chip), str(logical), self.name) for logical, (npu, chip) in enumerate(self.ids)]
        return "".join("\t" + "".join(f"{cell:<31}" for cell in row).rstrip() + "\n" for row in rows)

    def board(self, npu: int, chip: int) -> str:
        """What `npu-smi info -t board` prints of one chip."""
        rows = [("NPU ID", npu), ("Chip ID", chip), ("Chip Type", "Ascend"), ("Chip Name", self.name)]
        rows += [("NPU Name", self.npu_name)] if self.npu_name else []
        return "".join(f"\t{name:<31}: {value}\n" for name, value in rows)

    def one_card(self) -> Chip:
        """The same server with its first card only."""
        chips = len([npu for npu, _ in self.ids if npu == self.ids[0][0]])
        lines = self.table.splitlines(keepends=True)
        processes = lines[_HEAD + _LINES_OF_CHIP * len(self.ids) :][:_LINES_OF_PROCESSES]
        return replace(self, table="".join([*lines[: _HEAD + _LINES_OF_CHIP * chips], *processes]))


CHIPS = {
    "310P3": Chip("Ascend310P3", """\
+--------------------------------------------------------------------------------------------+
| npu-smi 22.0.2                       Version: 22.0.3                                       |
+-------------------+-----------------+------------------------------------------------------+
| NPU     Name      | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device    | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===================+=================+======================================================+
| 0       310P3     | OK              | 15.8         42                0    / 0              |
| 0       0         | 0000:82:00.0    | 0            1074 / 21534                            |
+===================+=================+======================================================+
| 1       310P3     | OK              | 15.4         43                0    / 0              |
| 0       1         | 0000:89:00.0    | 0            1070 / 21534                            |
+===================+=================+======================================================+
+-------------------+-----------------+------------------------------------------------------+
| NPU     Chip      | Process id      | Process name             | Process memory(MB)        |
+===================+=================+======================================================+
| No running processes found in NPU 0                                                        |
+===================+=================+======================================================+
| No running processes found in NPU 1                                                        |
+===================+=================+======================================================+
"""),
    "910B4": Chip("Ascend910B4", """\
+------------------------------------------------------------------------------------------------+
| npu-smi 25.5.2                   Version: 25.5.2                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 5     910B4               | OK            | 89.9        39                0    / 0             |
| 0                         | 0000:41:00.0  | 0           0    / 0          2922 / 32768         |
+===========================+===============+====================================================+
"""),
    "A3": Chip("Ascend910_9392", """\
+------------------------------------------------------------------------------------------------+
| npu-smi 25.2.0                   Version: 25.2.0                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     Ascend910           | OK            | 162.8       37                0    / 0             |
| 0     0                   | 0000:9C:00.0  | 0           0    / 0          3133 / 65536         |
+------------------------------------------------------------------------------------------------+
| 0     Ascend910           | OK            | -           37                0    / 0             |
| 1     1                   | 0000:9E:00.0  | 0           0    / 0          2876 / 65536         |
+===========================+===============+====================================================+
""", npu_name="9392"),
}  # fmt: skip
"""The servers by the name that `chip=` has for them; tables as real drivers printed them, 910B4 completed around its rows."""

Smi = Literal["ok", "absent", "187", "172", "none", "garbage"]
Atc = Literal["ok", "fail", "exit255", "hang", "crash", "no_file", "half_file", "arch_suffix"]
Load = Literal["ok", "soc", "soc_old", "opp"]
Run = Literal["ok", "fail", "fail_once", "lost", "oom", "aicpu", "hang", "wrong", "nan", "inf", "short"]
Generation = Literal["new", "old", "0.0.3"]
_RANGES = {"cards": (1, 1), "om_slower": (-90, 900), "rate": (0.1, 1e6), "jitter": (0, 10)}


@dataclass(frozen=True, slots=True)
class Scenario:
    """What `FCOS_EMULATOR` asks for; the module's first lines say what each value does."""

    chip: str = "310P3"
    cards: int | None = None
    """None: as many as the chip's table has."""
    npu_smi: Smi = "ok"
    atc: Atc = "ok"
    atc_code: str = "E19999"
    """The error code of `atc=fail`."""
    om_slower: float | None = None
    """%; None: an OM like any other."""
    load: Load = "ok"
    run: Run = "ok"
    run_after: int = 0
    """Executions of a process that go well before `run` begins."""
    generation: Generation = "new"
    rate: float | None = None
    """Images/s; None: as fast as this machine computes."""
    jitter: float = 0.0
    """%, one standard deviation."""

    @property
    def server(self) -> Chip:
        """The server with as many cards as the scenario asks for."""
        chip = CHIPS[self.chip]
        return chip if self.cards is None else chip.one_card()


def parse(text: str) -> Scenario:
    """The scenario that `text` describes; `UsageError` for a key or a value that does not exist."""
    choices = {key: get_args(kind) for key, kind in get_type_hints(Scenario).items() if get_origin(kind) is Literal}
    choices["chip"] = tuple(CHIPS)
    chosen: dict[str, str | float] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = item.partition("=")
        if key == "atc" and value.startswith("fail:"):
            value, _, chosen["atc_code"] = value.partition(":")
        if key == "run" and re.fullmatch(r"(?!fail_once)\w+:\d{1,6}", value, re.ASCII):
            value, _, count = value.partition(":")
            chosen["run_after"] = int(count)
        number = _number(key, value)
        if value not in choices.get(key, ()) and number is None:
            known = [f"{name}={'|'.join(values)}" for name, values in choices.items()]
            known += [f"{name}={low:g}..{high:g}" for name, (low, high) in _RANGES.items()]
            raise UsageError(
                f"{VARIABLE} has '{item}', which the emulator does not know", f"known are {'; '.join(known)}"
            )
        chosen[key] = value if number is None else number
    if "jitter" in chosen and "rate" not in chosen:
        raise UsageError(f"{VARIABLE} has a jitter and no rate that could vary", "add rate=IMAGES_PER_SECOND")
    return Scenario(**chosen)  # type: ignore[arg-type]


def _number(key: str, text: str) -> float | None:
    """The value of a key that takes a number, None if it is none in that key's range."""
    low, high = _RANGES.get(key, (math.inf, -math.inf))
    try:
        number = int(text) if key == "cards" else float(text)
    except ValueError:
        return None
    return number if low <= number <= high else None


def current() -> Scenario:
    """The scenario of this process's environment; `UsageError` if it cannot be understood."""
    return parse(os.environ.get(VARIABLE, ""))
