"""Which servers can `npu-smi` show? Tables as real drivers printed them, and what else follows from the chip.

The tables were collected from public repositories, READMEs and issues; only those of 910B and 910B4 are completed
around the rows that were published. Ids, spacing and separators differ between drivers, and that is their value. A scenario
with more cards repeats the last one, idle and under ids of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from fcos_lib.emulator.scenario import ChipName, Scenario


@dataclass(frozen=True, slots=True)
class Chip:
    """One kind of server."""

    soc_version: str
    """What `atc --soc_version` must be for it, and what the runtime accepts."""
    name: str
    """The `Chip Name` of `npu-smi info -t board`."""
    places: tuple[tuple[int, int], ...]
    """(NPU id, chip id) of every chip; the position is the device id."""
    table: str
    """What `npu-smi info` prints."""
    npu_name: str = ""
    """The `NPU Name` of `npu-smi info -t board`; only A3 has one."""


_TABLE_310 = """\
+------------------------------------------------------------------------------+
| npu-smi 21.0.3.1                     Version: 21.0.3.1                       |
+-------------------+-----------------+----------------------------------------+
| NPU     Name      | Health          | Power(W)          Temp(C)              |
| Chip    Device    | Bus-Id          | AICore(%)         Memory-Usage(MB)     |
+===================+=================+========================================+
| 1       310       | OK              | 12.8              49                   |
| 0       0         | 0000:01:00.0    | 0                 2621 / 8192          |
+-------------------+-----------------+----------------------------------------+
| 1       310       | OK              | 12.8              49                   |
| 1       1         | 0000:02:00.0    | 0                 2621 / 8192          |
+-------------------+-----------------+----------------------------------------+
"""

_TABLE_310P3 = """\
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
"""

_TABLE_310P3_DUO = """\
+--------------------------------------------------------------------------------------------------------+
| npu-smi 24.1.0.1                                 Version: 24.1.0.1                                     |
+-------------------------------+-----------------+------------------------------------------------------+
| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===============================+=================+======================================================+
| 1       310P3                 | OK              | NA           62                7210  / 7210          |
| 0       0                     | 0000:01:00.0    | 0            16302/ 44280                            |
+-------------------------------+-----------------+------------------------------------------------------+
| 1       310P3                 | OK              | NA           62                7210  / 7210          |
| 1       1                     | 0000:01:00.0    | 0            15543/ 43693                            |
+===============================+=================+======================================================+
| 2       310P3                 | OK              | NA           61                17057 / 17057         |
| 0       2                     | 0000:02:00.0    | 0            35563/ 44280                            |
+-------------------------------+-----------------+------------------------------------------------------+
| 2       310P3                 | OK              | NA           61                16823 / 16823         |
| 1       3                     | 0000:02:00.0    | 0            35204/ 43693                            |
+===============================+=================+======================================================+
+-------------------------------+-----------------+------------------------------------------------------+
| NPU     Chip                  | Process id      | Process name             | Process memory(MB)        |
+===============================+=================+======================================================+
| 1       0                     | 3277562         | mindie_llm_back          | 14513                     |
| 1       1                     | 3277565         | mindie_llm_back          | 14513                     |
+===============================+=================+======================================================+
| 2       0                     | 3034986         | mindie_llm_back          | 34207                     |
| 2       1                     | 3034989         | mindie_llm_back          | 33740                     |
+===============================+=================+======================================================+
"""

_TABLE_310B4 = """\
+--------------------------------------------------------------------------------------------------------+
| npu-smi 23.0.rc3                                 Version: 23.0.rc3                                     |
+-------------------------------+-----------------+------------------------------------------------------+
| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===============================+=================+======================================================+
| 0       310B4                 | OK              | 7.2          37                15    / 15            |
| 0       0                     | NA              | 0            1797 / 3513                             |
+===============================+=================+======================================================+
"""

_TABLE_910A = """\
+------------------------------------------------------------------------------------+
| npu-smi 1.8.21                   Version: 20.2.2.spc001                            |
+----------------------+---------------+---------------------------------------------+
| NPU   Name           | Health        | Power(W)   Temp(C)                          |
| Chip                 | Bus-Id        | AICore(%)  Memory-Usage(MB)  HBM-Usage(MB)  |
+======================+===============+=============================================+
| 0     910A           | OK            | 68.6       36                               |
| 0                    | 0000:C1:00.0  | 0          591  / 14795      0    / 32768   |
+======================+===============+=============================================+
| 1     910A           | OK            | 63.7       31                               |
| 0                    | 0000:81:00.0  | 0          303  / 15177      0    / 32768   |
+======================+===============+=============================================+
"""

_TABLE_910B_HEAD = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 25.5.2                   Version: 25.5.2                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
"""

_RULE_910B = "+===========================+===============+====================================================+\n"

_TABLE_910B = f"""\
{_TABLE_910B_HEAD}\
| 0     910B                | OK            | 70.3        38                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           1103 / 13552      0    / 32768         |
{_RULE_910B}"""

_TABLE_910B4 = f"""\
{_TABLE_910B_HEAD}\
| 5     910B4               | OK            | 89.9        39                0    / 0             |
| 0                         | 0000:41:00.0  | 0           0    / 0          2922 / 32768         |
{_RULE_910B}"""

_TABLE_A3 = """\
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
"""

CHIPS: dict[ChipName, Chip] = {
    "310": Chip("Ascend310", "310", ((1, 0), (1, 1)), _TABLE_310),
    "310P3": Chip("Ascend310P3", "310P3", ((0, 0), (1, 0)), _TABLE_310P3),
    "310P3-duo": Chip("Ascend310P3", "310P3", ((1, 0), (1, 1), (2, 0), (2, 1)), _TABLE_310P3_DUO),
    "310B4": Chip("Ascend310B4", "310B4", ((0, 0),), _TABLE_310B4),
    "910A": Chip("Ascend910A", "910A", ((0, 0), (1, 0)), _TABLE_910A),
    "910B": Chip("Ascend910B", "910B", ((0, 0),), _TABLE_910B),
    "910B4": Chip("Ascend910B4", "910B4", ((5, 0),), _TABLE_910B4),
    "A3": Chip("Ascend910_9392", "Ascend910", ((0, 0), (0, 1)), _TABLE_A3, npu_name="9392"),
}

_HEAD = 6
"""Lines of a table before its first chip."""

GARBAGE_TABLE = """\
+-----------------------------------------------------------------------+
| NPU-ID | Name        | Status | Utilization(%) | HBM(MB)              |
+========+=============+========+================+======================+
| Ascend 910B          | Normal | 35             | 2048 of 65536        |
+-----------------------------------------------------------------------+
"""
"""A table with invented columns, as circulates on web pages: nothing in it may be taken for a chip."""


def server(scenario: Scenario) -> Chip:
    """The scenario's server, with as many cards as it asks for."""
    chip = CHIPS[scenario.chip]
    return chip if scenario.cards is None else _with_cards(chip, scenario.cards)


def _with_cards(chip: Chip, count: int) -> Chip:
    lines = chip.table.splitlines(keepends=True)
    start, end = _HEAD, _HEAD + 3 * len(chip.places)  # two rows and a rule for every chip
    head, rows, processes = lines[:start], lines[start:end], "".join(lines[end:])
    cards = list(dict.fromkeys(npu for npu, _ in chip.places))
    last = [number for npu, number in chip.places if npu == cards[-1]]
    places = [place for place in chip.places if place[0] in cards[:count]]
    table = rows[: 3 * len(places)]
    for copy in range(1, count - len(cards) + 1):
        cards.append(cards[-1] + 1)
        for upper, lower, rule in zip(*(rows[len(rows) - 3 * len(last) + part :: 3] for part in range(3)), strict=True):
            table += [_renamed(upper, cards[-1]), _moved(lower, len(table) // 3, copy), rule]
        places += [(cards[-1], number) for number in last]
    *sections, _ = re.split(r"(?<==\+\n)", processes) if processes else [""]
    if sections:  # the head, then one for every card
        rule = sections[-1].splitlines(keepends=True)[-1]
        for card in cards[len(sections) - 1 :]:
            text = f"| No running processes found in NPU {card}"
            sections.append(text.ljust(len(rule) - 2) + "|\n" + rule)
    return replace(chip, places=tuple(places), table="".join(head + table + sections[: count + 1]))


def _renamed(row: str, npu: int) -> str:
    """The upper row of a chip, of another card."""
    return re.sub(r"(?<=^\| )\d+ +", lambda found: f"{npu:<{len(found[0])}}", row)


def _moved(row: str, device: int, copy: int) -> str:
    """The lower row of a chip, with another device id if there is one and another PCIe address if there is one."""
    row = re.sub(r"(^\| \d+ +)(\d+ +)", lambda found: f"{found[1]}{device:<{len(found[2])}}", row)
    return re.sub(r"(?<= 0000:)[0-9A-F]{2}", lambda found: f"{int(found[0], 16) + 4 * copy:02X}", row)
