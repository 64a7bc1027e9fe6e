"""The tables of every driver generation are read alike, and a missing NPU is explained."""

import contextlib
import dataclasses
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcos_lib.ascend import npu_smi
from fcos_lib.ascend.npu_smi import read_board, read_info, read_logical_ids, soc_version
from fcos_lib.ascend.npu_tables import (
    Npu,
    NpuProcess,
    UnreadableTableError,
    parse_info,
    parse_logical_ids,
    parse_processes,
    parse_versions,
)
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.errors import DeviceError

TABLES = Path(__file__).parent / "tables"


def table(name):
    """The text of a stored table."""
    return (TABLES / f"{name}.txt").read_text()


def npu(name, **changes):
    """A record of which only the name matters."""
    return dataclasses.replace(Npu(0, 0, 0, name, "OK", None, None, None, None, 0, 0), **changes)


EXPECTED = {
    "310": [
        Npu(1, 0, 0, "310", "OK", 12.8, 49, "0000:01:00.0", 0, 2621, 8192),
        Npu(1, 1, 1, "310", "OK", 12.8, 49, "0000:02:00.0", 0, 2621, 8192),
    ],
    "310P3": [
        Npu(0, 0, 0, "310P3", "OK", 15.8, 42, "0000:82:00.0", 0, 1074, 21534),
        Npu(1, 0, 1, "310P3", "OK", 15.4, 43, "0000:89:00.0", 0, 1070, 21534),
    ],
    "310P3_duo": [
        Npu(1, 0, 0, "310P3", "OK", None, 62, "0000:01:00.0", 0, 16302, 44280),
        Npu(1, 1, 1, "310P3", "OK", None, 62, "0000:01:00.0", 0, 15543, 43693),
        Npu(2, 0, 2, "310P3", "OK", None, 61, "0000:02:00.0", 0, 35563, 44280),
        Npu(2, 1, 3, "310P3", "OK", None, 61, "0000:02:00.0", 0, 35204, 43693),
    ],
    "310B4": [Npu(0, 0, 0, "310B4", "OK", 7.2, 37, None, 0, 1797, 3513)],
    "910A": [
        Npu(0, 0, None, "910A", "OK", 68.6, 36, "0000:C1:00.0", 0, 0, 32768),
        Npu(1, 0, None, "910A", "OK", 63.7, 31, "0000:81:00.0", 0, 0, 32768),
    ],
    "910B_first": [Npu(0, 0, None, "910B", "OK", 70.3, 38, "0000:C1:00.0", 0, 0, 32768)],
    "910B4": [Npu(5, 0, None, "910B4", "OK", 89.9, 39, "0000:41:00.0", 0, 2922, 32768)],
    "A3": [
        Npu(0, 0, None, "Ascend910", "OK", 162.8, 37, "0000:9C:00.0", 0, 3133, 65536),
        Npu(0, 1, None, "Ascend910", "OK", None, 37, "0000:9E:00.0", 0, 2876, 65536),
    ],
    "A3_26": [
        Npu(0, 0, None, "Ascend910", "OK", 160.1, 33, "0000:9D:00.0", 0, 3419, 65536),
        Npu(0, 1, None, "Ascend910", "OK", None, 34, "0000:9F:00.0", 0, 2874, 65536),
    ],
}


def test_every_stored_table_has_an_expectation():
    """A table that nobody checks would only look like coverage."""
    assert {path.stem for path in TABLES.glob("*.txt")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_chips_of_a_real_table_are_read(name):
    """Ids, health, sensors and memory come out of each layout; HBM counts where there is some."""
    assert parse_info(table(name)) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_windows_line_ends_and_noise_around_the_table_do_not_matter(name):
    """Logs pass through other systems, and drivers print warnings before and after the table."""
    noisy = (
        "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\n"
        + table(name)
        + "[WARNING]The driver package may not be completely installed. | See the log |\n"
    ).replace("\n", "\r\n")
    assert parse_info(noisy) == EXPECTED[name]


HEAD = "| NPU   Name | Health | Power(W)  Temp(C)  Hugepages-Usage(page) |\n| Chip  Device | Bus-Id | AICore(%)  Memory-Usage(MB) |\n"
FUTURE = (
    "| NPU  Name  Slot | Health  Since | Power(W)  Temp(C) | Fan |\n"
    "| Chip  Device | Bus-Id | AICore(%)  Memory-Usage(MB)  Other(MB)  HBM-Usage(MB) | |\n"
)


@pytest.mark.parametrize(
    ("head", "upper", "lower", "expected"),
    [
        (
            HEAD,
            "| 32768   310P3   | OK     | NA    29     0    / 0     |",
            "| 0       5       | 0000:86:00.0 | 3   19435/ 21527 |",
            {"npu_id": 32768, "device_id": 5, "aicore_percent": 3, "memory_used_mb": 19435},
        ),
        (
            HEAD,
            "| 0       310B4   | Alarm  | 0.0   37     15   / 15    |",
            "| 0       0       | NA           | 0   3628 / 15609 |",
            {"health": "Alarm", "power_w": 0, "bus_id": None, "memory_total_mb": 15609},
        ),
        (
            HEAD.replace("  Hugepages-Usage(page)", "").replace("(MB) |", "(MB)  HBM-Usage(MB) |"),
            "| 0     910A           | OK            | 68.6       36                               |",
            "| 0     -              | 0000:C1:00.0  | 0          591  / 14795      0    / 0       |",
            {"device_id": None, "memory_used_mb": 591, "memory_total_mb": 14795},
        ),
        (
            FUTURE.replace("Health  Since", "Health"),
            "| 7  310P9  3 | OK | 1.5  30 | 99 |",
            "| 1  2 | 0000:86:00.0 | 4  5 / 6  7 / 8  9 / 10 | |",
            {"npu_id": 7, "chip_id": 1, "device_id": 2, "name": "310P9", "memory_used_mb": 9, "memory_total_mb": 10},
        ),
    ],
    ids=["gap-in-ids", "alarm-without-power", "empty-hbm", "columns of the future"],
)
def test_unusual_rows_are_read(head, upper, lower, expected):
    """High ids, glued slashes, an alarm, a power of zero; HBM of size 0 is none; a value belongs to the name above it."""
    (npu,) = parse_info(f"{head}{upper}\n{lower}\n")
    assert {name: getattr(npu, name) for name in expected} == expected


def test_no_card_is_an_empty_list():
    """It is what the tool says then, with status 0."""
    assert parse_info("There is no NPU card on this server.\n") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "| NPU ID | Name | Health |\n|   |   | Bus-Id | NPU Util(%) |\n| 0 | Ascend950PR | OK | 1 2 |\n",
        "| 0   Ascend 910B | OK | 70W / 310W | 38C |\n| HBM(MB) | 0 / 32768 |\n",
        HEAD + "| 0 910B4 | OK | 89.9 39  0 / 0 |\n",
        table("910B4").replace("Memory-Usage(MB)  HBM-Usage(MB)", "Memory"),
    ],
    ids=["nothing", "unknown-columns", "invented-columns", "half-a-chip", "no-memory"],
)
def test_a_table_that_cannot_be_read_is_no_empty_one(text):
    """A guess would be worse than nothing, and nothing would look like a machine without a card; the first lines are shown."""
    with pytest.raises(UnreadableTableError, match="table of chips cannot be read: ") as caught:
        parse_info(text)
    first = next((line.strip() for line in text.splitlines() if line.strip(" +-=|")), "it printed nothing")
    assert first[:60] in caught.value.found


cells = st.one_of(st.text(max_size=12), st.sampled_from(["0", "0 0", "0 310P3", "OK", "NA", "12.8 49", "0 1 / 2", "٣"]))
lines = st.one_of(st.lists(cells, max_size=5).map(lambda row: "| " + " | ".join(row) + " |"), st.text(max_size=60))


@settings(max_examples=60, deadline=None)
@given(st.lists(lines, max_size=8).map("\n".join))
def test_no_text_breaks_the_parsers(text):
    """Whatever a future driver prints, the answer is a list, or that it cannot be read."""
    for parse in (parse_info, parse_processes, parse_logical_ids):
        for table_of in (
            text,
            f"{HEAD}{text}",
            f"| NPU  Chip | Process id | Process name |\n{text}",
            f"NPU ID  Chip ID\n{text}",
        ):
            with contextlib.suppress(DeviceError):
                assert isinstance(parse(table_of), list | dict)
    assert len(parse_versions(text)) == 2


def test_a_number_of_absurd_length_is_none():
    """Python refuses to convert very long digit strings; the parser must not get that far."""
    assert [npu.memory_total_mb for npu in parse_info(re.sub("44280", "9" * 5000, table("310P3_duo")))] == [
        0,
        43693,
    ] * 2
    with pytest.raises(UnreadableTableError):
        parse_info(re.sub(r"\| 2       310P3", f"| {'2' * 5000} 310P3", table("310P3_duo")))


def test_a_chip_that_does_not_answer_keeps_its_place():
    """ACL counts it: were it left out, the next one would be taken for it, and another device tested than the one named."""
    text = table("310P3_duo").replace("OK              | NA           62 ", "UNKNOWN         | NA           NA ", 1)
    silent, second, *_ = parse_info(text.replace("0            16302/ 44280 ", "NA           NA   / NA   "))
    assert (silent.health, silent.device_id, silent.memory_total_mb) == ("UNKNOWN", 0, 0)
    assert (second.device_id, second.memory_total_mb) == (1, 43693)
    assert parse_info(text.replace("UNKNOWN", "NA     "))[0].health == "NA"


@pytest.mark.parametrize(
    "change",
    [
        ("| 1       310P3  ", "| -       310P3  "),
        ("| OK              |", "| -               |"),
        ("| 0       0 ", "| 0   0   0 "),
    ],
)
def test_a_chip_that_cannot_be_read_makes_the_table_unreadable(change):
    """Nobody could tell then which device an index means."""
    with pytest.raises(UnreadableTableError, match="table of chips"):
        parse_info(table("310P3_duo").replace(*change, 1))


def test_processes_are_told_apart_from_chips():
    """The second table names who holds memory, which a throughput figure has to know."""
    processes = parse_processes(table("310P3_duo"))
    assert processes[0] == NpuProcess(1, 0, 3277562, "mindie_llm_back", 14513)
    assert [(process.npu_id, process.chip_id) for process in processes] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert parse_processes(table("310B4")) == []


def test_a_fifth_column_hides_no_process():
    """Drivers of 26.0 add the number inside a container: without the process, a busy device would look idle."""
    assert parse_processes(table("A3_26")) == [NpuProcess(0, 0, 100268, "python3.1", 197)]
    wider = (
        table("310P3_duo")
        .replace("| NPU     Chip ", "| NPU ID  Chip ")
        .replace("| Process memory(MB)", "| New | Process memory(MB)")
    )
    lines = [re.sub(r"(\| \d+ +\|)$", r"| x \1", line) if "mindie" in line else line for line in wider.splitlines()]
    assert [process.pid for process in parse_processes("\n".join(lines))] == [3277562, 3277565, 3034986, 3034989]


@pytest.mark.parametrize(
    "change", [("Process memory(MB)", "Held"), ("| 3277565         |", "| - |"), ("| 3277565 ", "| 32 | 77565 ")]
)
def test_processes_that_cannot_be_read_are_said(change):
    """With the first lines of the table, instead of an empty list."""
    with pytest.raises(UnreadableTableError, match=r"table of processes cannot be read: Process id .* mindie_llm_back"):
        parse_processes(table("310P3_duo").replace(*change))


MAPPINGS = {
    "310P": "\tNPU ID   Chip ID  Chip Logic ID  Chip Name\n\t1   0   0   310P3\n\t1   1   1   310P3\n\t1   2   -   Mcu\n",
    "A3": "NPU ID  Chip ID  Chip Logic ID  Chip Phy-ID  Chip Name\n1  0  0  4  Ascend910\n1  1  1  5  Ascend910\n1  2  -  -  Mcu\n",
    "950": "NPU ID  Slot ID  Chip ID  Chip Phy-ID  Chip Name\n1  7  0  8  Ascend950PR\n0  6  0  9  Ascend950PR\n",
}


@pytest.mark.parametrize(
    ("name", "ids"), [("310P", {(1, 0): 0, (1, 1): 1}), ("A3", {(1, 0): 0, (1, 1): 1}), ("950", {(1, 0): 1, (0, 0): 0})]
)
def test_logical_ids_are_read_by_the_header(name, ids):
    """Columns differ by generation, and the microcontroller is no chip; a 950's logical ids are its NPU ids."""
    assert parse_logical_ids(MAPPINGS[name]) == ids


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MAPPINGS["950"].replace("\n1  7", "\n2  7"), "NPU 2 chip 0, NPU 0 chip 0 cannot be told"),
        (MAPPINGS["950"].replace("1  7  0", "0  7  1"), "cannot be told"),
        ("There is something else\n", "table of logical ids"),
    ],
    ids=["remapped", "two chips", "no table"],
)
def test_logical_ids_are_not_guessed(text, words):
    """Another device than the one that is named would be tested."""
    with pytest.raises(DeviceError, match=words):
        parse_logical_ids(text)


def test_logical_ids_are_asked_for_where_the_table_has_none(script):
    """A `Device` column is enough; an old tool without `info -m` leaves the order of the table."""
    npus = [npu("910B4", npu_id=number, device_id=None) for number in (5, 3)]
    answers = {
        "printf 'NPU ID  Chip ID  Chip Logic ID\\n3  0  1\\n5  0  0\\n'": [0, 1],
        "printf 'NPU ID  Chip ID  Chip Logic ID\\n3  0  0\\n5  0  1\\n'": [1, 0],
        "echo 'Command or option is not found.'; exit 255": [0, 1],
    }
    for body, expected in answers.items():
        assert read_logical_ids(Toolkit(npu_smi=script("npu-smi", f'[ "$*" = "info -m" ] && {body}')), npus) == expected
    assert read_logical_ids(Toolkit(), parse_info(table("310P3_duo"))) == [0, 1, 2, 3]
    unlisted = Toolkit(npu_smi=script("npu-smi", "printf 'NPU ID  Chip ID  Chip Logic ID\\n3  0  0\\n'"))
    with pytest.raises(DeviceError, match="does not list NPU 5 chip 0"):
        read_logical_ids(unlisted, npus)


def test_tool_and_driver_versions_are_read_from_the_header():
    """They differ on some machines, and only the driver's matters for compatibility."""
    assert parse_versions(table("910A")) == ("1.8.21", "20.2.2.spc001")
    assert parse_versions("no header") == ("unknown", "unknown")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("310", "Ascend310"),
        ("310P3", "Ascend310P3"),
        ("310B4", "Ascend310B4"),
        ("910A", "Ascend910A"),
        ("910B", "Ascend910B"),
        ("910B4", "Ascend910B4"),
        ("910B4-1", "Ascend910B4-1"),
        ("Ascend310P3", "Ascend310P3"),
    ],
)
def test_the_soc_version_is_the_name_with_one_prefix(name, expected):
    """`atc` wants AscendXXX; a name that already has the prefix does not get a second one."""
    assert soc_version(npu(name)) == expected


@pytest.mark.parametrize(
    ("name", "model", "expected"),
    [("Ascend910", "9392", "Ascend910_9392"), ("Ascend950PR", "9579", "Ascend950PR_9579")],
)
def test_newer_chips_are_named_by_their_board(name, model, expected):
    """A3 and 950 tables name the family only."""
    board = f"        NPU ID        : 0\n        Chip Name     : {name}\n        NPU Name      : {model}\n"
    assert soc_version(npu(name), board) == expected


@pytest.mark.parametrize("board", [None, "", "        Chip Name : Ascend910\n"])
def test_a_family_name_alone_is_no_soc_version(board):
    """Compiling for the wrong member of a family fails only when the OM is loaded."""
    with pytest.raises(DeviceError, match="does not name its exact type") as caught:
        soc_version(npu("Ascend910", npu_id=3, chip_id=1), board)
    assert "npu-smi info -t board -i 3 -c 1" in caught.value.advice


def test_a_name_with_odd_characters_never_reaches_a_command_line():
    """The table is another program's output."""
    with pytest.raises(DeviceError, match="no chip name"):
        soc_version(npu("310P3;reboot"))


def test_the_tool_is_run_and_its_table_read(script):
    """End to end: the stored table through a process."""
    smi = script("npu-smi", f'[ "$*" = info ] && cat "{TABLES}/310P3_duo.txt"')
    assert parse_info(read_info(Toolkit(npu_smi=smi))) == EXPECTED["310P3_duo"]


def test_the_board_is_asked_for_one_chip(script):
    """`-t board` needs card and chip."""
    smi = script("npu-smi", 'echo "$@"')
    assert read_board(Toolkit(npu_smi=smi), npu("Ascend910", npu_id=4, chip_id=1)) == "info -t board -i 4 -c 1\n"


@pytest.mark.parametrize(
    ("status", "said", "cause"),
    [
        (187, "dcmi module initialize failed. ret is -8005", "driver cannot be reached"),
        (172, "dcmi model initialized failed, because the device is used. ret is -8020", "in use by another container"),
        (127, "npu-smi: error while loading shared libraries: libc_sec.so: cannot open", "library of the driver"),
        (3, "Command or option is not found.", "status 3"),
    ],
)
def test_a_failing_tool_is_explained(script, status, said, cause):
    """Exit codes become a cause in words, the tool's own line is quoted, and there is something to do."""
    smi = script("npu-smi", f'echo "{said}"; exit {status}')
    with pytest.raises(DeviceError, match=cause) as caught:
        read_info(Toolkit(npu_smi=smi))
    assert said in caught.value.found
    assert caught.value.advice


def test_a_silent_failure_is_told_by_its_status(script):
    """Even without a word there is a sentence."""
    with pytest.raises(DeviceError, match="ended with status 9") as caught:
        read_info(Toolkit(npu_smi=script("npu-smi", "exit 9")))
    assert caught.value.found == "npu-smi info ended with status 9"


def test_a_hanging_driver_ends_in_an_error(script, tmp_path, wait_until_dead, monkeypatch):
    """The tool and what it started are killed."""
    monkeypatch.setattr(npu_smi, "TIME_LIMIT_S", 0.5)
    smi = script("npu-smi", f"sleep 60 & echo $! > {tmp_path}/pid; wait")
    start = time.monotonic()
    with pytest.raises(DeviceError, match=r"did not answer within 0\.5 s"):
        read_info(Toolkit(npu_smi=smi))
    seconds = time.monotonic() - start
    assert seconds < 10, f"a limit of 0.5 s took {seconds:.1f} s"
    assert wait_until_dead(int((tmp_path / "pid").read_text()))


def test_an_absent_or_broken_tool_is_a_device_error(tmp_path):
    """No NPU is the machine's condition, not a crash."""
    with pytest.raises(DeviceError, match="not found"):
        read_info(Toolkit())
    (tmp_path / "npu-smi").write_bytes(b"\x7fELF broken")
    (tmp_path / "npu-smi").chmod(0o755)
    with pytest.raises(DeviceError, match="cannot be started"):
        read_info(Toolkit(npu_smi=tmp_path / "npu-smi"))
