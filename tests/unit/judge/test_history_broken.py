"""What is not a run of ours is refused with its place, its fault and what to do; what just about is one is read."""

import math
import os
import time
from datetime import datetime, timezone

import pytest

from fcos_lib.errors import StoreError, UsageError
from fcos_lib.files import write_whole
from fcos_lib.judge.history import run_of, save_run
from tests.unit.judge.history_runs import document, rate

ADVICE = "remove the file, or restore it; if another run is writing it now, try again"


def ours(data):
    """What the only benchmark of a document says of itself."""
    return data["benchmarks"][0]["extra_info"]["fcos"]


def damaged(damage):
    """A document of one rate that something was done to, or what it was replaced by."""
    data = document(1, rate(58.0))
    result = damage(data)
    return result if isinstance(result, (dict, list)) else data


def refused(call, *arguments):
    """The two parts of the error."""
    with pytest.raises(UsageError) as error:
        call(*arguments)
    return error.value.found, error.value.advice


def in_ours(damage):
    """A document whose only rate something was done to."""
    return damaged(lambda data: damage(ours(data)))


GONE = object()
RATE, SERIES, PRINT = (), ("series",), ("fingerprint",)
FIELDS = [
    (RATE, "run", "1234567", "of other characters"),
    (RATE, "run", "r" * 101, "of other characters"),
    (RATE, "run", "läufer-001", "of other characters"),
    (RATE, "run", "run 00001", "of other characters"),
    (RATE, "run", "run-00001\n", "of other characters"),
    (RATE, "run", 12345678, "Expected `str`, got `int`"),
    (RATE, "run", GONE, "missing"),
    (RATE, "images_per_second", "58", "Expected `float`, got `str`"),
    (RATE, "images_per_second", None, "Expected `float`, got `null`"),
    (RATE, "images_per_second", True, "Expected `float`, got `bool`"),
    (RATE, "images_per_second", 0, "Expected `float` > 0.0"),
    (RATE, "images_per_second", -1.0, "Expected `float` > 0.0"),
    (RATE, "images_per_second", math.nan, "Expected `float` > 0.0"),
    (RATE, "images_per_second", math.inf, "Expected `float` < 10000000.0"),
    (RATE, "images_per_second", 1e7, "Expected `float` < 10000000.0"),
    (RATE, "images_per_second", 10**400, "Number out of range"),
    (RATE, "images_per_second", GONE, "missing"),
    (RATE, "om_sha256", None, "Expected `str`, got `null`"),
    (RATE, "om_sha256", GONE, "missing"),
    (RATE, "y" * 300, 1, "Object contains unknown field `yyy"),
    (RATE, "fingerprint", "card", "Expected `object`, got `str`"),
    (RATE, "series", GONE, "missing"),
    (PRINT, "driver", None, "Expected `str`, got `null`"),
    (PRINT, "host", "x" * 1001, "Expected `str` of length <= 1000"),
    (PRINT, "host", "\x1b[2J", "of other characters"),
    (SERIES, "batch_size", 8.0, "Expected `int`, got `float`"),
    (SERIES, "batch_size", True, "Expected `int`, got `bool`"),
    (SERIES, "batch_size", 0, "Expected `int` >= 1"),
    (SERIES, "stand_in", 0, "Expected `bool`, got `int`"),
    (SERIES, "timed", "quickly", "Invalid enum value 'quickly'"),
    (SERIES, "contract", "", "Expected `str` of length >= 1"),
    (SERIES, "contract", "two\nlines", "of other characters"),
    (SERIES, "soc_version", "", "Expected `str` of length >= 1"),
    (SERIES, "atc_options", 7, "Expected `str`, got `int`"),
    (SERIES, "atc_options", GONE, "missing"),
    (SERIES, "surprise", "x", "Object contains unknown field `surprise`"),
]
"""Where in a rate, which field, what it was replaced by, and what the error says of it."""


@pytest.mark.parametrize(("path", "name", "value", "fault"), FIELDS)
def test_a_broken_rate_says_what_is_wrong_with_it(path, name, value, fault):
    """With its place, long values cut short, and with what to do; nothing may be missing, unknown or impossible."""

    def damage(rate):
        fields = rate[path[0]] if path else rate
        fields.update({name: value})
        if value is GONE:
            del fields[name]

    sentence, advice = refused(run_of, in_ours(damage), "some file")
    assert sentence.startswith("some file, extra_info['fcos'] is not a rate of this suite (")
    known = value is GONE or "unknown" in fault
    assert (f"{'.'.join(path) or 'Object'}" if known else f"{'.'.join((*path, name))}: ") in sentence
    assert fault in sentence
    assert len(sentence) < 300, f"the sentence has {len(sentence)} letters"
    assert advice == ADVICE


@pytest.mark.parametrize("number", [2, None, "1", True])
def test_another_format_is_refused_by_name(number):
    """Also if there is none at all."""
    shown = f"some file, extra_info['fcos'] has the format {number!r}, this release reads 1"
    answer = refused(run_of, in_ours(lambda rate: rate.update(format=number)), "some file")
    assert answer == (shown, f"use the release that wrote it, or {ADVICE}")
    no_object = damaged(lambda data: data["benchmarks"][0]["extra_info"].update(fcos=3))
    assert "has the format None" in refused(run_of, no_object, "some file")[0]


BROKEN = {
    "no object": (lambda data: [], " is not a file of pytest-benchmark's (Expected `object`, got `array`)"),
    "no list": (
        lambda data: {"benchmarks": {}},
        " is not a file of pytest-benchmark's (benchmarks: Expected `array`, got `object`)",
    ),
    "no time": (lambda data: data.update(datetime=None), ": at: Expected `datetime`, got `null`"),
    "no date": (lambda data: data.update(datetime="yesterday"), ": at: Invalid RFC3339 encoded datetime"),
    "time before the first": (
        lambda data: data.update(datetime="0001-01-01T00:00:00+14:00"),
        ": there is no 0001-01-01 00:00:00+14:00 in UTC",
    ),
    "one series twice": (
        lambda data: document(1, rate(58.0), rate(99.0)),
        ": it has two rates for batch8 pure, coco_r50 on Ascend310P3, force_fp16, float32 NCHW",
    ),
    "two runs": (
        lambda data: {**data, "benchmarks": [*data["benchmarks"], *document(2, rate(45.0, 64))["benchmarks"]]},
        ": its benchmarks are of different runs (run-00001, run-00002)",
    ),
    **{
        f"emulator's {field}": (
            lambda data, field=field: ours(data)["fingerprint"].update({field: "8.0.0 STAND-IN"}),
            ": it says hardware, but its CANN is the emulator's",
        )
        for field in ("cann", "atc")
    },
}
"""What was done to a document, and what the error says."""


@pytest.mark.parametrize(("damage", "fault"), BROKEN.values(), ids=BROKEN)
def test_a_broken_document_says_what_is_wrong_with_it(damage, fault):
    """In a sentence after its place, with what to do."""
    assert refused(run_of, damaged(damage), "some file") == (f"some file{fault}", ADVICE)


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
    stored = run_of(damaged(damage), "some file")
    assert isinstance(stored.rates[0].images_per_second, float)
    assert (len(stored.rates), stored.name) == (1, ""), "a document has no file's name"


def test_a_benchmark_may_hold_several_rates():
    """As a list; they come in the order in which they are read aloud."""
    rates = [rate(1.0, 64), rate(2.0, 8), rate(3.0, 8, timed="end to end"), rate(4.0, 64, contract="a")]
    data = document(1, rates[0])
    data["benchmarks"][0]["extra_info"]["fcos"] = [each.as_extra_info("run-00001") for each in rates]
    assert [each.images_per_second for each in run_of(data, "x").rates] == [4.0, 3.0, 2.0, 1.0], (
        "contract, part of the way, batch size"
    )


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
        at = run_of(document(1, rate(58.0)) | {"datetime": text}, "x").at
        assert (at, at.tzinfo) == (noon, timezone.utc), text


def test_a_file_that_could_not_be_replaced_leaves_nothing_behind(tmp_path):
    """Neither half a file nor a partial one."""
    (tmp_path / "x.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "x.json", b"text")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_pipe_is_never_replaced(tmp_path):
    """Nor is a device: root would put a file in the place of /dev/null."""
    os.mkfifo(tmp_path / "x.json")
    with pytest.raises(OSError, match="not a plain file"):
        write_whole(tmp_path / "x.json", b"text")
    assert (tmp_path / "x.json").is_fifo()


def test_what_is_not_saved_says_why(tmp_path):
    """A run without throughput, a broken one, and a folder that is none."""
    assert refused(save_run, tmp_path, {"benchmarks": []}) == (
        "no benchmark of the run has an extra_info['fcos']",
        "save runs that measured throughput",
    )
    assert refused(save_run, tmp_path, document(1, rate(-1.0)))[0] == (
        "the document, extra_info['fcos'] is not a rate of this suite (images_per_second: Expected `float` > 0.0)"
    )
    with pytest.raises(UsageError):
        save_run(tmp_path, document(1, rate(math.nan)))
    assert list(tmp_path.iterdir()) == [], "the store never holds what would stop the next reader"
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as error:
        save_run(tmp_path / "file", document(1, rate(58.0)))
    assert error.value.found == f"the run cannot be saved in {tmp_path / 'file'} (File exists)"
    assert error.value.advice == "check free space and permissions"
