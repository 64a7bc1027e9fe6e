"""`python -m fcos_lib history`: what a script or a person gets to see, and the exit status."""

import json
import xml.etree.ElementTree as ET
from datetime import datetime, timezone

import pytest

from fcos_lib.cli.main import main
from fcos_lib.judge.change import LEAST_RUNS
from tests.unit.judge.history_runs import EMULATED, document, rate, write


@pytest.fixture
def store(tmp_path):
    """Enough quiet runs of two batch sizes to judge by; none is accepted."""
    for number in range(1, LEAST_RUNS + 1):
        write(tmp_path / "store", number, rate(58.0 + 0.05 * (number % 3), 8), rate(45.0 + 0.05 * (number % 3), 64))
    return tmp_path / "store"


@pytest.fixture
def history(store, capsys):
    """Run one action on the store; its exit status, stdout and stderr."""

    def call(*arguments):
        status = main(["history", "--storage", str(store), *map(str, arguments)])
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def accepted(history):
    """All runs of the store are the baseline."""
    runs = [f"{number:04}" for number in range(1, LEAST_RUNS + 1)]
    assert history("accept", *runs, "--why", "first runs")[0] == 0


def test_a_new_store_is_no_verdict_until_runs_are_accepted(history, store):
    """7, then 0 for the same numbers, then 1 for slower ones."""
    write(store, 90, rate(57.9, 8), rate(45.1, 64))
    assert history("compare")[0] == 7
    assert history("compare", "--require-baseline")[0] == 1
    history("accept", *[f"{number:04}" for number in range(1, LEAST_RUNS + 1)], "--why", "first runs")
    status, out, _ = history("compare")
    assert (status, out.count(" PASS ")) == (0, 2), out
    write(store, 91, rate(40.0, 8), rate(45.1, 64))
    status, out, _ = history("compare")
    assert (status, out.count(" PASS "), out.count(" FAIL ")) == (1, 1, 1), out


@pytest.mark.usefixtures("accepted")
def test_every_series_has_a_line_with_old_new_ratio_and_verdict(history, store):
    """Also the one that the run lacks."""
    write(store, 90, rate(29.0, 8))
    status, out, _ = history("compare", "0090")
    assert status == 1
    lines = {line.split()[0]: line for line in out.splitlines() if line.startswith("batch")}
    assert lines["batch8"].split()[1:6] == ["pure", "58.05", "29", "0.500", "FAIL"]
    assert "FAIL" in lines["batch64"]
    assert "renamed or lost" in lines["batch64"]


def test_two_runs_can_be_compared_directly(history):
    """With one earlier run there is a ratio and no verdict; a run is not compared with itself."""
    status, out, _ = history("compare", "0002", "--against", "0001")
    assert status == 7
    assert "1.001" in out
    status, _, err = history("compare", "0002", "--against", "0002")
    assert status == 3
    assert "with itself" in err


def test_a_run_that_is_named_again_and_again_is_one_run(history):
    """It agrees with itself, and so often it would look as if many did."""
    status, out, _ = history("compare", "0002", *["--against", "0001"] * LEAST_RUNS)
    assert status == 7
    assert f"There are 1 earlier runs with this fingerprint, and {LEAST_RUNS} are needed." in out


@pytest.mark.usefixtures("accepted")
def test_yesterday_s_run_is_not_taken_for_today_s(history, store):
    """A session under -n stores nothing; its script would judge the newest older run and be green."""
    write(store, 90, rate(58.0, 8), rate(45.0, 64))
    assert history("compare")[0] == 0
    status, out, _ = history("compare", "--max-age", 30)
    assert status == 7
    assert "was not stored" in out
    fresh = {**document(91, rate(58.0, 8), rate(45.0, 64)), "datetime": datetime.now(timezone.utc).isoformat()}
    (store / "0091_x.json").write_text(json.dumps(fresh))
    assert history("compare", "--max-age", 30)[0] == 0


@pytest.mark.parametrize("name", ["0001", "run-00001", "0001_x"])
def test_a_run_is_found_by_the_beginning_of_its_name_or_id(history, name):
    """As listed."""
    assert "0001_x, measured 2024-01-02 00:00 UTC" in history("compare", name)[1]


def test_a_whole_name_is_clear_though_another_begins_with_it(history, store):
    """Such as nightly-1 beside nightly-10."""
    (store / "0001_x.json").rename(store / "nightly-1.json")
    (store / "0002_x.json").rename(store / "nightly-10.json")
    assert history("compare", "nightly-1")[1].startswith("nightly-1, measured")


@pytest.mark.parametrize("words", [("compare", "--max-age", "-1"), ("plot", "-o", "x.svg", "--last", "-3")])
def test_a_number_below_1_is_refused(history, words):
    """No run is younger than that, and less than one run cannot be drawn."""
    with pytest.raises(SystemExit) as stopped:
        history(*words)
    assert stopped.value.code == 2


def test_a_mistyped_folder_is_not_drawn(tmp_path):
    """An empty drawing would take the place of the one that was there."""
    (tmp_path / "history.svg").write_text("the last one")
    words = ["history", "--storage", str(tmp_path / "typo"), "plot", "-o", str(tmp_path / "history.svg")]
    assert main(words) == 3
    assert (tmp_path / "history.svg").read_text() == "the last one"


def test_a_run_that_is_not_there_or_not_clear_is_an_error(history, tmp_path):
    """With what was found."""
    status, _, err = history("compare", "000")
    assert status == 3
    assert f"{LEAST_RUNS} runs" in err
    assert history("compare", "nobody")[0] == 3
    foreign = tmp_path / "foreign.json"
    foreign.write_text('{"benchmarks": []}')
    assert "holds no throughput" in history("compare", foreign)[2]
    assert main(["history", "--storage", str(tmp_path / "nothing"), "compare"]) == 3


def test_a_baseline_that_was_named_must_be_there(history, tmp_path):
    """A mistyped path is not an empty baseline."""
    status, _, err = history("--baseline", tmp_path / "typo.json", "compare")
    assert status == 3
    assert "typo.json" in err


@pytest.mark.usefixtures("accepted")
def test_the_list_shows_runs_series_and_what_is_accepted(history):
    """One table of runs, one of series."""
    status, out, _ = history("list")
    assert status == 0
    assert out.count(" yes ") == LEAST_RUNS
    assert f"58.05 of {LEAST_RUNS} runs" in out


def test_exports_are_images_per_second_and_say_stand_in(history, store):
    """github-action-benchmark's own reader of pytest-benchmark takes rounds per second, an eighth of that at batch size 8."""
    write(store, 90, rate(58.5, 8), rate(3.5, 8, EMULATED, stand_in=True))
    status, out, _ = history("export", "--format", "github-action-benchmark")
    assert status == 0
    real, emulated = sorted(json.loads(out), key=lambda entry: -entry["value"])
    assert (real["unit"], real["value"]) == ("images/s", 58.5)
    assert "batch8 pure" in real["name"]
    assert "STAND-IN" not in real["name"]
    assert emulated["name"].startswith("STAND-IN")
    bencher = json.loads(history("export", "--format", "bencher")[1])
    assert bencher[real["name"]] == {"images-per-second": {"value": 58.5}}
    assert len(bencher) == 2


@pytest.mark.usefixtures("accepted")
def test_the_plot_is_written_whole_or_not_at_all(history, tmp_path):
    """Only SVG; the file is replaced in one step."""
    path = tmp_path / "history.svg"
    assert history("plot", "-o", path)[0] == 0
    assert ET.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert history("plot", "-o", tmp_path / "history.jpg")[0] == 3
    assert sorted(each.name for each in tmp_path.iterdir()) == ["history.svg", "store"]
