"""What would `npu-smi` print on the server that the scenario plays?

`info`, `info -l`, `info -m` and `info -t board -i N [-c M]`, with npu-smi's exit statuses. Serial numbers read STAND-IN;
the tables themselves are real ones, so whoever keeps them must label them by the toolkit's version.
"""

from __future__ import annotations

import sys

from fcos_lib.emulator import STAND_IN
from fcos_lib.emulator.chips import GARBAGE_TABLE, Chip, server
from fcos_lib.emulator.scenario import current
from fcos_lib.errors import UsageError

_CONSOLE_LOG = "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\n"
_NO_CARD = "There is no NPU card on this server.\n"
_UNKNOWN = """\
Command or option is not found.

Usage: npu-smi info [options...]

    -l                List all NPU cards
    -m                Show all chip mappings
    -t type           Show the information of a type: board
    -i %d             Card ID
    -c %d             Chip ID
"""


def _rows(*pairs: tuple[str, object]) -> str:
    return "".join(f"\t{name:<31}: {value}\n" for name, value in pairs)


def _list(chip: Chip) -> str:
    cards = sorted({npu for npu, _ in chip.places})
    count = "Card Count" if chip.name.startswith("310") and not chip.name.startswith("310P") else "Total Count"
    text = _rows((count, len(cards)))
    for card in cards:
        chips = sum(npu == card for npu, _ in chip.places)
        text += "\n" + _rows(
            ("NPU ID", card), ("Product Name", "NA"), ("Serial Number", STAND_IN), ("Chip Count", chips)
        )
    return text


def _mappings(chip: Chip) -> str:
    name = chip.name if chip.name.startswith("Ascend") else f"Ascend {chip.name}"
    physical = bool(chip.npu_name)
    rows: list[list[object]] = [
        ["NPU ID", "Chip ID", "Chip Logic ID", *(["Chip Phy-ID"] if physical else []), "Chip Name"]
    ]
    for card in sorted({npu for npu, _ in chip.places}):
        chips = [number for npu, number in chip.places if npu == card]
        for number in chips:
            logic = chip.places.index((card, number))
            rows.append([card, number, logic, *([logic] if physical else []), name])
        rows.append([card, len(chips), "-", *(["-"] if physical else []), "Mcu"])
    return "".join("\t" + "".join(f"{cell!s:<31}" for cell in row) + "\n" for row in rows)


def _board(chip: Chip, npu: int, number: int | None) -> str:
    if number is None:
        chips = sum(card == npu for card, _ in chip.places)
        return _rows(
            ("NPU ID", npu), ("Product Name", "NA"), ("Manufacturer", "Huawei"), ("Serial Number", STAND_IN),
            ("Chip Count", chips),
        )  # fmt: skip
    names = [("NPU Name", chip.npu_name)] if chip.npu_name else []
    return _rows(("NPU ID", npu), ("Chip ID", number), ("Chip Type", "Ascend"), ("Chip Name", chip.name), *names)


def _options(arguments: list[str]) -> dict[str, str] | None:
    """`-l`, `-m`, `-t type`, `-i N`, `-c M` as a mapping; None if anything else is there."""
    options: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name = rest.pop(0)
        if name in ("-l", "-m"):
            options[name] = ""
        elif name in ("-t", "-i", "-c") and rest:
            options[name] = rest.pop(0)
        else:
            return None
    return options


def answer(arguments: list[str], chip: Chip) -> tuple[str, int]:
    """What npu-smi prints for these arguments on a healthy server, and its exit status."""
    options = _options(arguments[1:]) if arguments[:1] == ["info"] else None
    if options == {}:
        return chip.table, 0
    if options == {"-l": ""}:
        return _list(chip), 0
    if options == {"-m": ""}:
        return _mappings(chip), 0
    if options and options.pop("-t", "") == "board" and "-i" in options:
        places = [(str(npu), str(number)) for npu, number in chip.places]
        npu, number = options.pop("-i"), options.pop("-c", None)
        if options:
            return _UNKNOWN, 255
        if not any(place[0] == npu and number in (None, place[1]) for place in places):
            return f"Error parameter of -{'i' if npu not in dict(places) else 'c'}\n", 255
        return _board(chip, int(npu), None if number is None else int(number)), 0
    return _UNKNOWN, 255


def main(arguments: list[str] | None = None) -> int:
    """Print what npu-smi would; returns its exit status (2 if `FCOS_EMULATOR` cannot be understood)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        scenario = current()
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    if scenario.npu_smi == "absent":
        print("npu-smi: command not found", file=sys.stderr)
        return 127
    if scenario.npu_smi == "187":
        text, status = f"{_CONSOLE_LOG}dcmi module initialize failed. ret is -8005\n", 187
    elif scenario.npu_smi == "172":
        text = f"{_CONSOLE_LOG}dcmi model initialized failed, because the device is used. ret is -8020\n"
        status = 172
    elif scenario.npu_smi == "none":
        text, status = _NO_CARD, 0
    elif scenario.npu_smi == "garbage":
        text, status = GARBAGE_TABLE, 0
    else:
        text, status = answer(arguments, server(scenario))
    sys.stdout.write(text)
    return status


if __name__ == "__main__":
    sys.exit(main())
