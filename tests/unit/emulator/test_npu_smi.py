"""npu-smi prints real tables. How it fails: tests/unit/faults/catalogue/machine.py."""

import pytest

from fcos_lib.ascend.npu_tables import parse_info, parse_logical_ids
from fcos_lib.emulator import npu_smi
from fcos_lib.emulator.scenario import CHIPS


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
    rows, chips = out.count(f" {CHIPS[chip].name} "), len(CHIPS[chip].ids)
    assert rows >= chips, f"{rows} rows name the chip, the server has {chips}"
    npus = [(npu.npu_id, npu.chip_id) for npu in parse_info(out)]
    assert npus == CHIPS[chip].ids
    assert parse_logical_ids(run(f"chip={chip}", "info", "-m")[1]) == {ids: logical for logical, ids in enumerate(npus)}


def test_the_default_table_ends_with_processes(run):
    """The 310P3 table has the second part, which a parser must not take for cards."""
    _, out, _ = run("", "info")
    assert "Process id" in out
    assert "| 0       310P3     | OK " in out


def test_an_a3_tells_its_name_only_when_the_board_is_asked(run):
    """`Ascend910` in the table is `9392` on the board, without which soc_version cannot be formed."""
    status, out, _ = run("chip=A3", "info", "-t", "board", "-i", "0", "-c", "1")
    assert status == 0
    assert "NPU Name                       : 9392" in out
    assert "Chip Name                      : Ascend910" in out


def test_a_server_may_have_one_card_only(run):
    """The table keeps its form, and neither part of it knows the other card."""
    _, out, _ = run("cards=1", "info")
    assert len({len(line) for line in out.splitlines()}) == 1, out
    assert [(npu.npu_id, npu.chip_id, npu.device_id) for npu in parse_info(out)] == [(0, 0, 0)]
    assert out.count("No running processes") == 1
    assert run("cards=1", "info", "-t", "board", "-i", "1", "-c", "0")[0] != 0


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("info", "-x"),
        ("set",),
        ("info", "-t"),
        ("info", "-t", "health", "-i", "0"),
        ("info", "-i", "0"),
    ],
)
def test_unknown_commands_are_refused(run, arguments):
    """What the emulator does not know it does not answer."""
    status, out, _ = run("", *arguments)
    assert status != 0
    assert out.startswith("Command or option is not found.")


def test_a_card_that_is_not_there_is_refused(run):
    """Ids are the server's own: a 910B4 server has NPU 5 and no NPU 0."""
    assert run("chip=910B4", "info", "-t", "board", "-i", "0", "-c", "0")[0] != 0
    assert run("chip=910B4", "info", "-t", "board", "-i", "5", "-c", "0")[0] == 0


def test_a_misspelt_scenario_stops_the_tool(run):
    """It must not print a healthy table."""
    status, out, err = run("chip=nothing", "info")
    assert (status, out) == (2, "")
    assert "chip=nothing" in err
