"""`accepted.json` holds what somebody declared to be the baseline, whole and in the order of its making, or is refused."""

import json
import threading
from datetime import datetime, timezone

import pytest
from msgspec.structs import replace

from fcos_lib.errors import StoreError, UsageError
from fcos_lib.judge.accepted import Baseline, accept, compare, read_accepted
from tests.unit.judge.history_runs import HERE, all_sizes, judge, rate, run, status, write

OTHER_FORMAT = "use the release that wrote it, or "
ADVICE = "restore it: without it every series is new"
ENTRY = {"at": "2026-11-01T00:00:00Z", "reason": "x", "runs": []}


def refused(kind, call, *arguments, **options):
    """The two parts of the error."""
    with pytest.raises(kind) as error:
        call(*arguments, **options)
    return error.value.found, error.value.advice


def test_an_acceptance_replaces_the_one_before_or_joins_it(tmp_path):
    """Replaced for the same recipe and fingerprint only; other machines keep theirs."""
    path, elsewhere = tmp_path / "accepted.json", replace(HERE, chip="card-2")
    accept(path, [all_sizes(1, 58.0), all_sizes(2, 58.0)], "first")
    accept(path, [all_sizes(3, 50.0, fingerprint=elsewhere)], "another card")
    accept(path, [all_sizes(4, 70.0)], "a faster OM")

    def held(fingerprint):
        return [old.images_per_second for _, old in read_accepted(path).holding(rate(1).series, fingerprint)]

    assert held(HERE) == [70.0]
    assert held(elsewhere) == [50.0]
    accept(path, [all_sizes(5, 71.0)], "one more", add=True)
    assert held(HERE) == [70.0, 71.0]
    accept(path, [all_sizes(5, 71.0)], "the same again", add=True)
    assert held(HERE) == [70.0, 71.0], "a run counts once, however often it is accepted"
    assert [entry.reason for entry in read_accepted(path).acceptances][:2] == ["first", "another card"], (
        "nothing is lost"
    )


def test_accepting_less_has_to_be_said(tmp_path):
    """Otherwise a lost series would leave with the next acceptance, unnoticed."""
    path = tmp_path / "accepted.json"
    accept(path, [all_sizes(1)], "first")
    with pytest.raises(UsageError, match="batch64 pure"):
        accept(path, [all_sizes(2, sizes=(1, 8))], "oops")
    accept(path, [all_sizes(2, sizes=(1, 8))], "64 is not deployed any more", fewer=True)
    assert status(compare(all_sizes(3, sizes=(1, 8)), read_accepted(path), judge)) == 0


def test_acceptances_at_the_same_moment_are_all_kept(tmp_path):
    """Read, add and write happen under a lock."""
    path, barrier = tmp_path / "accepted.json", threading.Barrier(4)

    def add(number):
        barrier.wait()
        accept(path, [all_sizes(number)], f"run {number}", add=True)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_accepted(path).holding(rate(1).series, HERE)) == 4


def test_an_acceptance_is_kept_with_its_time_and_its_reason(tmp_path):
    """In a folder that was not there, in UTC, without blanks around the reason; what is returned is what is read back."""
    path, before = tmp_path / "new" / "folder" / "accepted.json", datetime.now(timezone.utc)
    done = accept(path, [run(1, rate(58.0))], "  CANN 8.3 ")
    assert done.reason == "CANN 8.3"
    after = datetime.now(timezone.utc)
    assert before <= done.at <= after, f"accepted at {done.at}, between {before} and {after}"
    assert read_accepted(path) == Baseline((done,))
    content = json.loads(path.read_text())
    assert (content["format"], content["benchmarks"], list(content)) == (1, [], ["format", "benchmarks", "accepted"])
    assert content["accepted"][0]["at"] == done.at.isoformat()
    assert path.read_text().count("\n") > 30, "one value a line: it is reviewed and kept under version control"
    assert path.read_text().endswith("}\n")


def test_the_baseline_is_no_run_for_pytest_benchmark(tmp_path):
    """In the same folder it is a file without benchmarks for its own commands, not a broken one."""
    from pytest_benchmark.logger import Logger
    from pytest_benchmark.storage.file import FileStorage

    accept(tmp_path / "0002_accepted.json", [run(1, rate(58.0))], "first")
    write(tmp_path, 1, rate(58.0))
    storage = FileStorage(tmp_path, Logger(Logger.QUIET), default_machine_id="Linux-CPython-3.11-64bit")
    assert [len(content["benchmarks"]) for _, content in storage.load()] == [1, 0]


@pytest.mark.parametrize(
    ("content", "fault", "asked"),
    [
        ([], " has the format None, this release reads 1", OTHER_FORMAT),
        ({"format": 2, "accepted": []}, " has the format 2, this release reads 1", OTHER_FORMAT),
        ({"format": 1, "accepted": {}}, " is not an accepted.json (accepted: Expected `array`, got `object`)", ""),
        ({"format": 1, "accepted": [3]}, " is not an accepted.json (accepted[0]: Expected `object`, got `int`)", ""),
        (ENTRY | {"at": "yesterday"}, "[0].at: Invalid RFC3339 encoded datetime)", ""),
        (ENTRY | {"reason": 3}, "[0].reason: Expected `str`, got `int`)", ""),
        (ENTRY | {"reason": "\x1b[2J"}, "[0].reason: Expected `str` of other characters)", ""),
        (ENTRY | {"more": 3}, "[0]: Object contains unknown field `more`)", ""),
        (ENTRY | {"runs": [3]}, "[0].runs[0]: Expected `object`, got `int`)", ""),
        ({"rates": []}, "[0].runs[0].rates: Expected `array` of length >= 1)", ""),
        ({"rates": None}, "[0].runs[0].rates: Expected `array`, got `null`)", ""),
        ({"run_id": "x"}, "[0].runs[0].run_id: Expected `str` of other characters)", ""),
        ({"name": 1}, "[0].runs[0].name: Expected `str`, got `int`)", ""),
        ({"commit": None}, "[0].runs[0].commit: Expected `str`, got `null`)", ""),
        ({"at": 3}, "[0].runs[0].at: Expected `datetime`, got `int`)", ""),
        ({"rates": 2 * run(1, rate(58.0)).as_dict()["rates"]}, ": it has two rates for batch8 pure", ""),
        ({"more": 1}, "[0].runs[0]: Object contains unknown field `more`)", ""),
    ],
)
def test_a_broken_baseline_says_what_is_wrong_with_it(tmp_path, content, fault, asked):
    """Which field of which entry or run, and that it should be restored; it stays, and nothing is accepted beside it."""
    path = tmp_path / "accepted.json"
    if isinstance(content, dict) and "format" not in content:
        entry = content if "runs" in content else ENTRY | {"runs": [run(1, rate(58.0)).as_dict() | content]}
        content = {"format": 1, "accepted": [entry]}
    path.write_text(text := json.dumps(content))
    sentence, advice = refused(UsageError, read_accepted, path)
    assert sentence.startswith(str(path))
    assert fault in sentence
    assert advice == asked + ADVICE
    assert refused(UsageError, accept, path, [run(1, rate(58.0))], "would overwrite it") == (sentence, advice)
    assert path.read_text() == text


def test_what_is_not_accepted_says_why(tmp_path):
    """No reason, series that would be lost, and a place that cannot be written."""
    path = tmp_path / "accepted.json"
    for runs, reason in (([], "why"), ([run(1, rate(58.0))], "  ")):
        assert refused(UsageError, accept, path, runs, reason) == (
            "a baseline needs runs and a reason",
            "say what changed, such as --why 'CANN 8.3'",
        )
    for reason in ("two\nlines", "x" * 1001):  # could not be read back
        sentence, _ = refused(UsageError, accept, path, [run(1, rate(58.0))], reason)
        assert "accepted[0].reason: Expected `str` of " in sentence
    assert not path.exists(), "nobody moves a baseline by accident"
    accept(path, [run(1, rate(58.0, 1), rate(58.0, 8), rate(58.0, 64))], "first")
    assert refused(UsageError, accept, path, [run(2, rate(58.0, 1))], "second") == (
        "the runs lack what the baseline has: batch64 pure, batch8 pure",
        "accept complete runs, or pass --fewer if these need not be measured any more",
    )
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "accepted.json"
    assert refused(StoreError, accept, target, [run(1, rate(58.0))], "first") == (
        f"{target} cannot be written (File exists)",
        "check free space and permissions",
    )
