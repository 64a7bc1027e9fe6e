"""npu-smi prints real tables, and fails as the real one does."""

import pytest

from fcos_lib.ascend.npu_smi import parse_info, parse_processes
from fcos_lib.emulator import npu_smi
from fcos_lib.emulator.chips import CHIPS


@pytest.fixture
def run(capfd, play):
    """Run npu-smi in a scenario: (exit status, stdout, stderr)."""

    def run(scenario, *arguments):
        play(scenario)
        status = npu_smi.main(list(arguments))
        printed = capfd.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.mark.parametrize("chip", CHIPS)
def test_the_table_of_every_server_is_printed(run, chip):
    """`npu-smi info` exits 0 with a table whose lines are equally wide and name the chip."""
    status, out, _ = run(f"chip={chip}", "info")
    assert status == 0
    widths = {len(line) for line in out.splitlines()}
    assert len(widths) == 1, f"the lines of the {chip} table have widths {sorted(widths)}"
    assert out.count(f" {CHIPS[chip].name} ") >= len(CHIPS[chip].places)


def test_the_default_table_ends_with_processes(run):
    """The 310P3 table has the second part, which a parser must not take for cards."""
    _, out, _ = run("", "info")
    assert "Process id" in out
    assert "| 0       310P3     | OK " in out


def test_mappings_count_chips_over_all_cards(run):
    """Device ids of the runtime are the Chip Logic IDs; the management unit has none."""
    _, out, _ = run("chip=310P3-duo", "info", "-m")
    rows = [line.split() for line in out.splitlines()[1:]]
    assert [row[2] for row in rows if row[-1] == "310P3"] == ["0", "1", "2", "3"]
    assert [row[:3] for row in rows if row[-1] == "Mcu"] == [["1", "2", "-"], ["2", "2", "-"]]


def test_cards_are_listed_under_the_word_of_the_chip(run):
    """310 and 310B count cards, the others have a total."""
    assert "Card Count                     : 1" in run("chip=310B4", "info", "-l")[1]
    assert "Total Count                    : 2" in run("chip=310P3", "info", "-l")[1]


def test_an_a3_tells_its_name_only_when_the_board_is_asked(run):
    """`Ascend910` in the table is `9392` on the board, without which soc_version cannot be formed."""
    status, out, _ = run("chip=A3", "info", "-t", "board", "-i", "0", "-c", "1")
    assert status == 0
    assert "NPU Name                       : 9392" in out
    assert "Chip Name                      : Ascend910" in out


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("name", CHIPS)
def test_a_server_has_as_many_cards_as_asked_for(run, name, count):
    """The table keeps its form, and no two chips share a place, a device id or another card's PCIe address."""
    chip = CHIPS[name]
    _, out, _ = run(f"chip={name},cards={count}", "info")
    assert len({len(line) for line in out.splitlines()}) == 1, out
    npus = parse_info(out)
    cards = {npu.npu_id for npu in npus}
    assert len(cards) == count, out
    assert len({(npu.npu_id, npu.chip_id) for npu in npus}) == len(npus), out
    assert len(npus) * len({npu for npu, _ in chip.places}) == count * len(chip.places), "cards differ in their chips"
    assert [npu.device_id for npu in npus] in ([None] * len(npus), list(range(len(npus)))), out
    addresses = {npu.bus_id for npu in npus}
    assert addresses == {None} or len(addresses) >= count, out
    assert run(f"chip={name},cards={count}", "info", "-l")[1].splitlines()[0].split()[-1] == str(count)


def test_the_second_table_knows_every_card(run):
    """The cards that were added run nothing; those that were taken away are not mentioned."""
    assert [line.split()[-2] for line in run("cards=3", "info")[1].splitlines() if "No running" in line] == list("012")
    assert run("cards=1", "info")[1].count("No running") == 1
    _, out, _ = run("chip=310P3-duo,cards=3", "info")
    assert [found.npu_id for found in parse_processes(out)] == [1, 1, 2, 2]
    assert out.count("No running processes found in NPU 3") == 1


def test_as_many_cards_as_the_driver_printed_leave_the_table_alone(run):
    """Two are the default."""
    assert run("cards=2", "info") == run("", "info")


def test_additional_cards_have_boards_and_mappings(run):
    """They are cards like the others."""
    scenario = "chip=310P3-duo,cards=4"
    rows = [line.split() for line in run(scenario, "info", "-m")[1].splitlines()[1:]]
    assert [row[2] for row in rows if row[-1] == "310P3"] == [str(number) for number in range(8)]
    assert run(scenario, "info", "-t", "board", "-i", "4", "-c", "1")[0] == 0
    assert run(scenario, "info", "-t", "board", "-i", "5", "-c", "0")[0] != 0


def test_boards_are_labelled_as_a_stand_in(run):
    """Whoever records serial numbers records the label."""
    assert "Serial Number                  : STAND-IN" in run("", "info", "-t", "board", "-i", "0")[1]


@pytest.mark.parametrize(
    "arguments",
    [(), ("info", "-x"), ("set",), ("info", "-t"), ("info", "-t", "health", "-i", "0"), ("info", "-i", "0")],
)
def test_unknown_commands_are_refused(run, arguments):
    """What the emulator does not know it does not answer."""
    status, out, _ = run("", *arguments)
    assert status != 0
    assert out.startswith("Command or option is not found.")


def test_a_card_that_is_not_there_is_refused(run):
    """Ids are the server's own: a 910B4 server has NPU 5 and no NPU 0."""
    assert run("chip=910B4", "info", "-t", "board", "-i", "0")[0] != 0
    assert run("chip=910B4", "info", "-t", "board", "-i", "5", "-c", "0")[0] == 0


@pytest.mark.parametrize(
    ("scenario", "status", "text"),
    [
        ("npu_smi=absent", 127, "command not found"),
        ("npu_smi=187", 187, "ret is -8005"),
        ("npu_smi=172", 172, "the device is used. ret is -8020"),
        ("npu_smi=none", 0, "There is no NPU card on this server."),
        ("npu_smi=garbage", 0, "HBM(MB)"),
    ],
)
def test_failures_have_the_exit_status_of_the_real_tool(run, scenario, status, text):
    """The status is the driver's code in one byte, 127 where there is no driver."""
    found, out, err = run(scenario, "info")
    assert (found, text in out + err) == (status, True), f"{found}: {out}{err}"


def test_a_misspelt_scenario_stops_the_tool(run):
    """It must not print a healthy table."""
    status, out, err = run("chip=nothing", "info")
    assert (status, out) == (2, "")
    assert "chip=nothing" in err
