"""The servers that the emulator plays: what `npu-smi info` prints there, and what follows from it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_CHIP = re.compile(r"^\| (\d+) +(\S+) +\| [A-Z]+ .*\n\| (\d+) ", re.MULTILINE)
_HEAD = 6
"""Lines of a table before its first chip."""
_LINES_OF_CHIP = 3
"""Two rows and a rule."""
_LINES_OF_PROCESSES = 5
"""The second table, where there is one, up to its first card."""


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
