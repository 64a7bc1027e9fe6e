"""What is not a run of ours is refused with its place, its fault and what to do; what just about is one is read."""

import json
import locale
import time
from datetime import datetime, timezone

import pytest

from fcos_lib.errors import StoreError, UsageError
from fcos_lib.files import write_whole
from fcos_lib.judge import history
from fcos_lib.judge.history import moment, read_json, read_run, run_of, run_of_dict, save_run, text_line
from tests.unit.judge.history_runs import EMULATED, HERE, document, rate, run

ADVICE = "remove the file, or restore it; it is not guessed at"
IDENTITY = (
    "batch_size, contract, dynamic_batch, input, op_select_implmode, precision_mode, soc_version, stand_in, timed"
)


def ours(data):
    """What the only benchmark of a document says of itself."""
    return data["benchmarks"][0]["extra_info"]["fcos"]


def damaged(damage):
    """A document of one rate that something was done to, or what it was replaced by."""
    data = document(1, rate(58.0))
    result = damage(data)
    return result if isinstance(result, (dict, list)) else data


def entry(value):
    """A rate as accepted.json has it."""
    return run(1, rate(value)).as_dict()["rates"][0]


def refused(call, *arguments):
    """The two parts of the error."""
    with pytest.raises(UsageError) as error:
        call(*arguments)
    return error.value.found, error.value.advice


BROKEN = {
    "no object": (lambda data: [], "it is no file of pytest-benchmark's (no list 'benchmarks')"),
    "no list": (lambda data: {"benchmarks": {}}, "it is no file of pytest-benchmark's (no list 'benchmarks')"),
    "no record": (
        lambda data: data["benchmarks"][0]["extra_info"].update(fcos=3),
        "extra_info['fcos'] has the format 3, this release reads 1",
    ),
    "format of tomorrow": (
        lambda data: ours(data).update(format=2),
        "extra_info['fcos'] has the format 2, this release reads 1",
    ),
    "no format": (
        lambda data: ours(data).pop("format"),
        "extra_info['fcos'] has the format None, this release reads 1",
    ),
    "short id": (lambda data: ours(data).update(run="1234567"), "'1234567' is no id of a run"),
    "long id": (lambda data: ours(data).update(run="r" * 101), f"'{'r' * 39} is no id of a run"),
    "id of other letters": (lambda data: ours(data).update(run="läufer-001"), "'läufer-001' is no id of a run"),
    "id with a space": (lambda data: ours(data).update(run="run 00001"), "'run 00001' is no id of a run"),
    "id with a line end": (lambda data: ours(data).update(run="run-00001\n"), r"'run-00001\n' is no id of a run"),
    "id that is a number": (lambda data: ours(data).update(run=12345678), "12345678 is no id of a run"),
    "no time": (lambda data: data.update(datetime=None), "its time is None"),
    "no date": (lambda data: data.update(datetime="yesterday"), "its time is 'yesterday'"),
    "time before the first": (
        lambda data: data.update(datetime="0001-01-01T00:00:00+14:00"),
        "its time is '0001-01-01T00:00:00+14:00'",
    ),
    "rate as text": (lambda data: ours(data).update(images_per_second="58"), "images_per_second is '58'"),
    "rate too high": (lambda data: ours(data).update(images_per_second=1e7), "images_per_second is 10000000.0"),
    "no OM": (lambda data: ours(data).update(om_sha256=None), "om_sha256 is None, not a line of text"),
    "no driver": (lambda data: ours(data)["fingerprint"].update(driver=None), "driver is None, not a line of text"),
    "endless host": (
        lambda data: ours(data)["fingerprint"].update(host="x" * 1001),
        f"host is '{'x' * 39}, not a line of text",
    ),
    "size with a fraction": (
        lambda data: ours(data)["series"].update(batch_size=8.0),
        "batch_size is 8.0, not of type int",
    ),
    "flag that is a number": (lambda data: ours(data)["series"].update(stand_in=0), "stand_in is 0, not of type bool"),
    "option that is a number": (
        lambda data: ours(data)["series"].update(atc_options=7),
        "atc_options is 7, not a line of text",
    ),
    "text for a fingerprint": (
        lambda data: ours(data).update(fingerprint="card"),
        "fingerprint: expected are atc, cann, chip, driver, firmware, host, pictures; found: 'card'",
    ),
    "missing field": (
        lambda data: ours(data)["series"].pop("atc_options"),
        f"series: expected are atc_options, {IDENTITY}; found: {IDENTITY}",
    ),
    "surprising field": (
        lambda data: ours(data).update({"y" * 300: 1}),
        "expected are fingerprint, images_per_second, om_sha256, series; "
        f"found: fingerprint, images_per_second, om_sha256, series, {'y' * 149}",
    ),
    "one series twice": (
        lambda data: document(1, rate(58.0), rate(99.0)),
        "it has two rates for batch8 pure, coco_r50 on Ascend310P3, force_fp16, float32 NCHW",
    ),
    "two runs": (
        lambda data: {**data, "benchmarks": [*data["benchmarks"], *document(2, rate(45.0, 64))["benchmarks"]]},
        "its benchmarks are of different runs (run-00001, run-00002)",
    ),
    "emulator as hardware": (
        lambda data: document(1, rate(3.0, fingerprint=EMULATED)),
        "it says hardware, but its CANN is the emulator's",
    ),
}
"""What was done to a document, and what the error says."""


@pytest.mark.parametrize(("damage", "fault"), BROKEN.values(), ids=BROKEN)
def test_a_broken_document_says_what_is_wrong_with_it(damage, fault):
    """In a sentence after its place, long values cut short, with what to do."""
    assert refused(run_of, damaged(damage), "some file") == (f"some file: {fault}", ADVICE)


@pytest.mark.parametrize(
    "changes", [{"contract": ""}, {"soc_version": ""}, {"timed": "quickly"}, {"batch_size": 0}, {"batch_size": -8}]
)
def test_an_impossible_series_is_shown(changes):
    """A contract, a chip, a part of the way and a batch size of at least 1 are what every series has."""
    found, advice = refused(run_of, damaged(lambda data: ours(data)["series"].update(changes)), "some file")
    assert found.startswith("some file: its series is impossible: {'contract': ")
    assert advice == ADVICE


@pytest.mark.parametrize("place", ["cann", "atc"])
def test_either_half_of_the_emulator_s_cann_is_enough(place):
    """What compiled the OM counts as much as what ran it."""
    half = damaged(lambda data: ours(data)["fingerprint"].update({place: "8.0.0 STAND-IN"}))
    assert "emulator" in refused(run_of, half, "some file")[0]


WHOLE = {
    "whole number": lambda data: ours(data).update(images_per_second=58),
    "fast": lambda data: ours(data).update(images_per_second=9_999_999.0),
    "slow": lambda data: ours(data).update(images_per_second=1e-3),
    "shortest id": lambda data: ours(data).update(run="12345678"),
    "longest id": lambda data: ours(data).update(run="r" * 100),
    "all letters of an id": lambda data: ours(data).update(run="A.b-c_9-"),
    "smallest size": lambda data: ours(data)["series"].update(batch_size=1),
    "longest text": lambda data: ours(data)["fingerprint"].update(host="x" * 1000),
    "nobody could tell": lambda data: ours(data)["fingerprint"].update(dict.fromkeys(ours(data)["fingerprint"], "")),
    "list of one": lambda data: data["benchmarks"][0]["extra_info"].update(fcos=[ours(data)]),
    "something foreign": lambda data: data["benchmarks"].insert(0, "what is this?"),
    "benchmark without more": lambda data: data["benchmarks"].insert(0, {"extra_info": None}),
}


@pytest.mark.parametrize("damage", WHOLE.values(), ids=WHOLE)
def test_what_just_about_is_a_run_is_read(damage):
    """The ends of what is allowed, one rate as a list, and what others put into the file."""
    found = run_of(damaged(damage), "some file")
    assert isinstance(found.rates[0].images_per_second, float)
    assert (len(found.rates), found.name) == (1, ""), "a document has no file's name"


def test_a_benchmark_may_hold_several_rates():
    """As a list; they come in the order in which they are read aloud."""
    rates = [rate(1.0, 64), rate(2.0, 8), rate(3.0, 8, timed="end to end"), rate(4.0, 64, contract="a")]
    data = document(1, rates[0])
    data["benchmarks"][0]["extra_info"]["fcos"] = [each.as_extra_info("run-00001") for each in rates]
    assert [each.images_per_second for each in run_of(data, "x").rates] == [4.0, 3.0, 2.0, 1.0], (
        "contract, part of the way, batch size"
    )


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"rates": []}, "it holds no rates"),
        ({"rates": None}, "it holds no rates"),
        ({"rates": {"a": 1}}, "it holds no rates"),
        ({"run_id": "x"}, "'x' is no id of a run"),
        ({"name": 1}, "name is 1, not a line of text"),
        ({"commit": None}, "commit is None, not a line of text"),
        ({"at": 3}, "its time is 3"),
        (
            {"rates": [entry(58.0), entry(58.0)]},
            "it has two rates for batch8 pure, coco_r50 on Ascend310P3, force_fp16, float32 NCHW",
        ),
        ({"rates": [3]}, "expected are fingerprint, images_per_second, om_sha256, series; found: 3"),
        ({"more": 1}, "expected are at, commit, name, rates, run_id; found: at, commit, more, name, rates, run_id"),
    ],
)
def test_a_broken_entry_of_the_baseline_says_what_is_wrong_with_it(changes, found):
    """With the file's name in front."""
    broken = json.loads(json.dumps({**run(1, rate(58.0)).as_dict(), **changes}))
    assert refused(run_of_dict, broken, "accepted.json") == (f"accepted.json: {found}", ADVICE)


@pytest.mark.parametrize(
    ("info", "commit"),
    [
        ({"id": "0123456789abcdef", "dirty": True}, "0123456789+"),
        ({"id": "0123456789abcdef", "dirty": False}, "0123456789"),
        ({"id": "0123456789abcdef", "dirty": "perhaps"}, "0123456789"),
        ({"id": "0123456789abcdef"}, "0123456789"),
        ({"id": "abcdef0"}, "abcdef0"),
        ({"id": "abcdef"}, ""),
        ({"id": "a" * 64}, "a" * 10),
        ({"id": "a" * 65}, ""),
        ({"id": "ABCDEF0"}, ""),
        ({"id": "unversioned"}, ""),
        ({"id": None}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_the_commit_is_short_and_says_if_it_is_not_all(info, commit):
    """Ten digits and a plus for uncommitted changes; whatever is no commit is none."""
    assert run_of({**document(1, rate(58.0)), "commit_info": info}, "x").commit == commit


@pytest.fixture(params=["UTC", "CST-8", "PST8"])
def _local_time(request, monkeypatch):
    """A machine in this time zone."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_local_time")
def test_a_time_is_in_utc():
    """Wherever the machine is: an offset is taken off; without one it is UTC already."""
    noon = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
    for text in ("2026-11-01T12:00:00", "2026-11-01T14:00:00+02:00", "2026-11-01T12:00:00+00:00"):
        found = moment(text, "x")
        assert (found, found.tzinfo) == (noon, timezone.utc), text


def test_a_line_of_text_can_be_printed_anywhere():
    """No escape sequence, no second line, not endless."""
    assert text_line("CANN 8.3 °C", "reason", "x") == "CANN 8.3 °C"
    assert text_line("", "reason", "x") == ""
    assert refused(text_line, "two\nlines", "reason", "file") == (
        r"file: reason is 'two\nlines', not a line of text",
        ADVICE,
    )


def test_a_file_is_read_up_to_its_limit(tmp_path, monkeypatch):
    """The limit itself is allowed; the advice is the caller's."""
    monkeypatch.setattr(history, "FILE_LIMIT", 10)
    path = tmp_path / "x.json"
    path.write_text("[1]".ljust(10))
    assert read_json(path, "what to do") == [1]
    path.write_text("[1]".ljust(11))
    assert refused(read_json, path, "what to do") == (f"{path} is not a file of at most 0 MiB", "what to do")
    for no_file in (tmp_path, tmp_path / "nothing.json"):
        assert refused(read_json, no_file, "what to do")[0] == f"{no_file} is not a file of at most 0 MiB"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b'"\xff"', "'utf-8' codec can't decode byte 0xff in position 1: invalid start byte"),
    ],
)
def test_a_file_that_is_no_json_says_why(tmp_path, content, why):
    """In the words of Python's reader, whole as they fit a line."""
    path = tmp_path / "x.json"
    path.write_bytes(content)
    assert refused(read_json, path, "what to do") == (f"{path} cannot be read as JSON ({why})", "what to do")


def test_a_long_reason_is_cut_short(tmp_path, monkeypatch):
    """An error is a line or two, whatever the reader says."""
    (tmp_path / "x.json").write_text("{}")

    def fail(text, **_):
        raise ValueError("y" * 200)

    monkeypatch.setattr(history.json, "loads", fail)
    found = refused(read_json, tmp_path / "x.json", "what to do")[0]
    assert found == f"{tmp_path / 'x.json'} cannot be read as JSON ({'y' * 120})"


def test_a_file_of_pytest_benchmark_s_may_be_about_to_be_written(tmp_path):
    """It does not write in one step, so trying again is the advice."""
    (tmp_path / "0001_x.json").write_text("{")
    advice = "pytest-benchmark's files are JSON; if another run is writing it now, try again"
    assert refused(read_run, tmp_path / "0001_x.json")[1] == advice
    (tmp_path / "0001_x.json").write_text("[]")
    assert refused(read_run, tmp_path / "0001_x.json")[0].startswith(f"{tmp_path / '0001_x.json'}: ")


@pytest.fixture
def _ascii_locale():
    """A machine whose files are ASCII unless somebody says otherwise."""
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    yield
    locale.setlocale(locale.LC_CTYPE, before)


@pytest.mark.usefixtures("_ascii_locale")
def test_text_is_utf_8_whatever_the_locale_says(tmp_path):
    """Written and read."""
    path = tmp_path / "x.json"
    write_whole(path, '["± °C"]\n'.encode())
    assert path.read_bytes() == '["± °C"]\n'.encode()
    assert read_json(path, "") == ["± °C"]


def test_a_file_that_could_not_be_replaced_leaves_nothing_behind(tmp_path):
    """Neither half a file nor a partial one."""
    (tmp_path / "x.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "x.json", b"text")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_what_is_not_saved_says_why(tmp_path):
    """A run without throughput, a broken one, and a folder that is none."""
    assert refused(save_run, tmp_path, {"benchmarks": []}) == (
        "no benchmark of the run has an extra_info['fcos']",
        "save runs that measured throughput",
    )
    assert refused(save_run, tmp_path, document(1, rate(-1.0)))[0] == "the document: images_per_second is -1.0"
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as error:
        save_run(tmp_path / "file", document(1, rate(58.0)))
    assert error.value.found == f"the run cannot be saved in {tmp_path / 'file'} (File exists)"
    assert error.value.advice == "check free space and permissions"


def test_an_identity_that_was_left_empty_is_none_of_the_label():
    """What nobody set is not shown."""
    bare = rate(1.0, input="", precision_mode="").series
    assert bare.recipe_label == "coco_r50 on Ascend310P3"
    assert rate(1.0, fingerprint=HERE).series.recipe.timed == ""
