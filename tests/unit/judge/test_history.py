"""Runs survive in pytest-benchmark's files, and nothing that is not a rate of ours is taken for one."""

import json
import os
import re
import subprocess
import sys
import threading
import time

import pytest
from pytest_benchmark.logger import Logger
from pytest_benchmark.storage.file import FileStorage

from fcos_lib.errors import UsageError
from fcos_lib.judge.history import ACCEPTED, Run, new_run_id, read_run, read_runs, run_of, save_run
from fcos_lib.records import record_of
from tests.unit.judge.history_runs import HERE, document, rate, run, write


def test_what_the_suite_writes_is_what_is_read_back(tmp_path):
    """Series, fingerprint, rate, time and commit survive the way through a file."""
    stored = read_run(write(tmp_path, 7, rate(58.1), rate(45.2, 64)))
    assert [(each.series.batch_size, each.images_per_second) for each in stored.rates] == [(8, 58.1), (64, 45.2)]
    assert stored.rates[0].fingerprint == HERE
    assert (stored.run_id, stored.name, stored.commit) == ("run-00007", "0007_x", "0123456789")
    assert record_of(json.loads(json.dumps(stored.as_dict())), Run) == stored, "the form in accepted.json loses nothing"


def test_the_test_s_name_and_the_folder_of_a_python_mean_nothing(tmp_path):
    """pytest-benchmark's own identity changes with both; ours must not, or a rename or a new Python begins anew."""
    write(tmp_path / "Linux-CPython-3.10-64bit", 1, rate(58.0), name="test_old_name")
    write(tmp_path / "Linux-CPython-3.14-64bit", 2, rate(57.0), name="test_new_name")
    assert [each.rates[0].series for each in read_runs(tmp_path)] == [rate(1).series] * 2


def test_other_people_s_benchmarks_are_left_alone(tmp_path):
    """A foreign benchmark in the same file is no rate, and a file of foreign ones is no run."""
    mixed = document(1, rate(58.0))
    mixed["benchmarks"].append({"name": "test_sort", "extra_info": {"images_per_second": -1}, "stats": {}})
    assert len(run_of(mixed, "x").rates) == 1
    assert run_of({"benchmarks": mixed["benchmarks"][1:], "datetime": "nonsense"}, "x") is None


def test_a_run_that_was_saved_twice_counts_once(tmp_path):
    """--benchmark-json and --benchmark-autosave, or a copied file, must not look like two runs that agree perfectly."""
    write(tmp_path, 1, rate(58.0))
    write(tmp_path / "copy", 1, rate(58.0))
    assert len(read_runs(tmp_path)) == 1
    write(tmp_path / "copy", 1, rate(59.0))
    with pytest.raises(UsageError, match=r"copy.*other rates"):
        read_runs(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", '{"benchmarks": 1}', "[" * 100_000, '{"benchmarks": [{"extra_info": 1' + "0" * 9]
)
def test_a_broken_file_is_named(tmp_path, text):
    """One error with the path; the history is not read around the hole."""
    write(tmp_path, 1, rate(58.0))
    (tmp_path / "0002_broken.json").write_text(text)
    with pytest.raises(UsageError, match=r"(?s)0002_broken\.json .*try again"):
        read_runs(tmp_path)


def test_runs_come_in_the_order_of_their_time(tmp_path):
    """Not of their names: numbers of pytest-benchmark's repeat on several machines."""
    for number, name in ((3, "0001_x.json"), (1, "0002_x.json"), (2, "0003_x.json")):
        (tmp_path / name).write_text(json.dumps(document(number, rate(58.0))))
    (tmp_path / ACCEPTED).write_text("{}")
    assert [each.run_id for each in read_runs(tmp_path)] == ["run-00001", "run-00002", "run-00003"]
    assert read_runs(tmp_path / "nothing") == []


def test_a_foreign_file_does_not_hide_the_runs_after_it(tmp_path):
    """Other people's benchmarks and the baseline may lie anywhere between ours."""
    write(tmp_path, 1, rate(58.0))
    (tmp_path / "0002_x.json").write_text('{"benchmarks": []}')
    (tmp_path / ACCEPTED).write_text("{}")
    write(tmp_path, 3, rate(57.0))
    write(tmp_path / "z", 4, rate(56.0))
    assert [each.run_id for each in read_runs(tmp_path)] == ["run-00001", "run-00003", "run-00004"]


def test_runs_of_the_same_time_come_in_the_order_of_their_ids(tmp_path):
    """Whatever their files are called."""
    for name, number in (("0001_x", 2), ("0002_x", 1)):
        data = {**document(number, rate(58.0)), "datetime": "2024-01-01T00:00:00"}
        (tmp_path / f"{name}.json").write_text(json.dumps(data))
    assert [each.run_id for each in read_runs(tmp_path)] == ["run-00001", "run-00002"]


def test_the_id_of_a_run_is_its_time_its_process_and_chance(monkeypatch):
    """In UTC, so that ids of several machines sort; no two are equal."""
    monkeypatch.setattr(time, "gmtime", lambda: time.struct_time((2026, 11, 1, 14, 5, 9, 0, 0, 0)))
    assert re.fullmatch(rf"20261101T140509Z-{os.getpid()}-[0-9a-f]{{8}}", new_run_id())
    assert new_run_id() != new_run_id()


def test_names_tell_series_and_recipes_apart():
    """The series by batch size and part of the way, the recipe by all else that is set; the emulator's begins with STAND-IN."""
    series = rate(1.0, 64, timed="end to end").series
    assert series.label == "batch64 end to end"
    assert series.recipe_label == "coco_r50 on Ascend310P3, force_fp16, float32 NCHW"
    full = rate(1.0, stand_in=True, op_select_implmode="high_precision", dynamic_batch="1,8", atc_options="-O3").series
    assert full.recipe_label == (
        "STAND-IN coco_r50 on Ascend310P3, force_fp16, float32 NCHW, high_precision, profiles 1,8, -O3"
    )
    assert rate(1.0, input="", precision_mode="").series.recipe_label == "coco_r50 on Ascend310P3"
    assert rate(1.0).series.recipe == series.recipe, "batch size and part of the way are left open"
    assert rate(1.0).series.recipe != full.recipe


def test_a_run_is_saved_where_no_folder_was_with_all_that_pytest_benchmark_knows(tmp_path):
    """One value a line, whole; what JSON has no word for becomes text instead of an error, as pytest-benchmark has it."""
    data = document(1, rate(58.0))
    data["machine_info"]["cpu"] = {1}
    path = save_run(tmp_path / "new" / "store", data)
    text = path.read_text()
    assert json.loads(text) == {**data, "machine_info": {**data["machine_info"], "cpu": "UNSERIALIZABLE[{1}]"}}
    assert text.endswith("}\n")
    assert text.count("\n") > 50, "a person can read it, and git can compare it"
    assert read_run(path).rates == (rate(58.0),)


def test_numbers_of_files_end_at_9999(tmp_path):
    """pytest-benchmark finds four digits only; the id keeps the names apart."""
    write(tmp_path, 9998, rate(58.0))
    names = [save_run(tmp_path, document(number, rate(58.0))).name for number in (1, 2)]
    assert [name[:5] for name in names] == ["9999_", "9999_"]
    assert len(read_runs(tmp_path)) == 3


def test_a_series_that_was_not_timed_has_no_rate():
    """Asked of a run."""
    stored = run(1, rate(58.0), rate(45.0, 64))
    assert stored.rate(rate(1.0, 64).series) == rate(45.0, 64)
    assert stored.rate(rate(1.0, 32).series) is None


def test_writers_at_the_same_moment_do_not_collide(tmp_path):
    """Every run is there, whole, and nothing else is."""
    barrier = threading.Barrier(6)

    def save(number):
        barrier.wait()
        save_run(tmp_path, document(number, rate(50.0 + number)))

    threads = [threading.Thread(target=save, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.rates[0].images_per_second for each in read_runs(tmp_path)} == {50.0, 51.0, 52.0, 53.0, 54.0, 55.0}
    assert len(list(tmp_path.iterdir())) == 6, "no partial files stay"


def test_pytest_benchmark_reads_what_is_saved_here(tmp_path):
    """Its storage loads our file without a warning, and goes on counting after it."""
    warnings = []
    logger = Logger(Logger.QUIET)
    logger.warning = lambda text, *_, **__: warnings.append(text)
    ours = save_run(tmp_path, document(1, rate(58.0)))
    storage = FileStorage(tmp_path, logger, default_machine_id="Linux-CPython-3.11-64bit")
    storage.save(document(2, rate(59.0)), "theirs")
    loaded = list(storage.load())
    assert [path.name for path, _ in loaded] == [ours.name, "0002_theirs.json"]
    assert warnings == []
    assert save_run(tmp_path, document(3, rate(57.0))).name.startswith("0003_"), "and ours after its own"
    assert [each.run_id for each in read_runs(tmp_path)] == ["run-00001", "run-00002", "run-00003"]


def test_pytest_benchmark_s_own_commands_show_our_runs(tmp_path):
    """`pytest-benchmark compare` prints both runs of the benchmark."""
    for number in (1, 2):
        save_run(tmp_path / "store", document(number, rate(58.0)))
    command = [sys.executable, "-m", "pytest_benchmark", "--storage", str(tmp_path / "store"), "compare"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test_throughput[0] (") == 2, done.stdout


def test_the_readme_of_the_format_names_every_key():
    """The module's docstring is the format's description."""
    import fcos_lib.judge.history as module

    for key in rate(58.0).as_extra_info("x"):
        assert f"\n    {key} " in module.__doc__, f"{key} is not described"
