"""What a run measured without a limit becomes sections for limits.toml: with a certificate, and with a pattern's bound."""

from dataclasses import replace

import pytest

from fcos_lib.cli.main import main
from fcos_lib.contract import SHAPES
from fcos_lib.errors import UsageError
from fcos_lib.evidence.results import write_results
from fcos_lib.judge.limits import FILE, all_limits
from fcos_lib.judge.limits_file import check_limits, recorded_limits

MINE = replace(
    SHAPES, name="mine", classes=("cat", "dog"), width=2 * SHAPES.width, height=3 * SHAPES.height, limits_of=""
)
DATA_SET = {"count": 24, "first": 1, "last": 24, "ids_sha256": "ab"}


def lacking(key, limit, value, subject="batch8", **more):
    """A verdict as results.json has it, of a gate whose limit nobody set."""
    measurement = {"name": "x", "value": value, "unit": "x", "n": 7, "details": {"data_set": DATA_SET}}
    return {
        "promise": "consistency", "subject": subject, "outcome": "NO VERDICT", "measurement": measurement, "limit": None,
        "stand_in": True, "key": key, "lacks": limit, **more,
    }  # fmt: skip


def run_of(*verdicts):
    """What of a results.json is read."""
    return {
        "run": {
            "command": ["/v/bin/pytest", "-m", "accuracy", "tests", "--dataset", "/data/shelf", "--contract=/x/mine.toml"], "started_at": "2026-11-28T20:00:00Z",
            "settings": {"dataset": "/data/shelf", "contract": "mine.toml"},
        },
        "environment": {"packages": {"onnxruntime": "1.32.0"},
                        "device": {"soc_version": "Ascend310P3", "cann_version": "8.0 STAND-IN"}},
        "verdicts": list(verdicts),
    }  # fmt: skip


def recorded(tmp_path, *verdicts):
    """The limits of the suite's file with what was recorded below, and the text of that."""
    text = "\n".join(recorded_limits(run_of(*verdicts), MINE, all_limits()))
    path = tmp_path / "limits.toml"
    path.write_text(FILE.read_text(encoding="utf-8") + text, encoding="utf-8")
    return all_limits(path), text


def test_the_mean_precision_gets_what_is_usually_granted_and_its_pictures(tmp_path):
    """The lowest of all batch sizes counts."""
    limits, _ = recorded(
        tmp_path,
        lacking("accuracy.mAP", "accuracy.mine.mAP", 0.5),
        lacking("accuracy.mAP", "accuracy.mine.mAP", 0.4, "batch1"),
        lacking("accuracy.reference_mAP_most", "accuracy.mine.mAP_most", 0.5, "reference"),
    )
    least, most = limits["accuracy.mine.mAP"], limits["accuracy.mine.mAP_most"]
    assert least.bound == pytest.approx(0.396), f"the bound is {least.bound}, and 0.4 less 1 % is 0.396"
    assert most.bound == pytest.approx(0.505), f"the bound is {most.bound}, and 0.5 and 1 % are 0.505"
    assert (least.pictures.name, least.pictures.count, least.pictures.last, least.pictures.ids_sha256) == (
        "shelf",
        24,
        24,
        "ab",
    )
    assert (least.at_least, most.at_least) == (True, False)
    assert most.source.startswith("recorded: 0.5000; 1 % more is as wrong as less; onnxruntime 1.32.0")
    assert (least.n, least.date, least.command) == (7, "2026-11-28", "pytest -m accuracy")
    assert least.spread == "0.4, batch1, worst of 2"
    assert least.source.endswith("onnxruntime 1.32.0, Ascend310P3, CANN 8.0 STAND-IN. Never run on hardware")
    assert "CANN" not in most.source, "the reference asks no device"


def test_limits_of_ones_own_model_are_recorded_bit_by_bit(tmp_path):
    """A gate that stopped at another one lacks its limit still, which is NO VERDICT in the next run and no error."""
    limits, _ = recorded(tmp_path, lacking("consistency.unexplained", "consistency.mine.unexplained", 0))
    check_limits(limits, "mine")
    more = run_of(lacking("x", "consistency.mine.unexplained", 0), lacking("x", "proposals.mine.cosine_boxes", 1.0))
    (section,) = recorded_limits(more, MINE, limits)
    assert section.startswith("[proposals.mine.cosine_boxes]\nbound = 0.9999\n")


def test_a_length_grows_with_the_input(tmp_path):
    """Twice as wide and three times as high a network has twice the bound across, three times that down, and the larger for corners."""
    pattern = all_limits()
    limits, _ = recorded(
        tmp_path,
        lacking("bias.centre_x", "bias.mine.centre_x", 0.2),
        lacking("bias.centre_y", "bias.mine.centre_y", 0.1),
        lacking("consistency.unexplained", "consistency.mine.unexplained", 0),
        lacking("proposals.largest_difference_boxes", "proposals.mine.largest_difference_boxes", 1.0),
    )
    corners = "largest_difference_boxes"
    assert limits[f"proposals.mine.{corners}"].bound == pytest.approx(3 * pattern[f"proposals.shapes.{corners}"].bound)
    assert limits["bias.mine.centre_x"].bound == pytest.approx(2 * pattern["bias.shapes.centre_x"].bound)
    assert limits["bias.mine.centre_y"].bound == pytest.approx(3 * pattern["bias.shapes.centre_y"].bound)
    assert (limits["consistency.mine.unexplained"].bound, limits["consistency.mine.unexplained"].pictures) == (0, None)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("consistency.mine.unexplained", 3, "3 detections, batch8, is beyond 0, the bound of shapes"),
        ("proposals.mine.cosine_boxes", 0.5, "0.5 cosine, batch8, is beyond 0.9999"),
        ("consistency.mine.explained", "nan", "a number is none"),
        ("throughput.mine.Ascend310P3.batch8.slower", 3, "shapes has no such limit"),
    ],
)
def test_what_is_wrong_is_not_recorded_as_right(name, value, reason, tmp_path):
    """A difference without a cause, a NaN, what has no pattern: a comment says why."""
    limits, text = recorded(tmp_path, lacking("x", name, value))
    assert name not in limits
    (comment,) = [line for line in text.splitlines() if line.startswith(f"# [{name}] is not recorded: ")]
    assert reason in comment


def test_a_run_that_lacked_nothing_has_nothing_to_record():
    """Nor one of another contract."""
    for verdicts in ((), (lacking("x", "consistency.other.unexplained", 0),), (lacking("x", "", 0),)):
        with pytest.raises(UsageError, match="lacked no limit of the contract 'mine'"):
            recorded_limits(run_of(*verdicts), MINE, all_limits())


def test_a_set_of_limits_of_a_contract_that_nobody_knows_is_a_users(tmp_path):
    """So that runs of other contracts go on; a few are misspelt."""
    own = [name for name in all_limits() if ".shapes." in name and name.startswith(("consistency", "bias", "paired"))]
    for count, known in ((len(own), True), (3, False)):
        limits = all_limits() | {name.replace("shapes", "shpes"): all_limits()[name] for name in own[:count]}
        if known:
            check_limits(limits, "shapes")
        else:
            with pytest.raises(UsageError, match="no gate knows"):
                check_limits(limits, "shapes")


def test_the_verb_needs_a_run_with_a_contract(tmp_path, capsys):
    """The embedded default has its limits."""
    run = {"settings": {"dataset": "/data"}, "exit_status": 7}
    write_results(tmp_path / "results.json", environment={}, artifacts=[], verdicts=[], unjudged=[], run=run)
    assert main(["limits", "--record", str(tmp_path / "results.json")]) == 3
    assert "is of a run without --contract" in capsys.readouterr().err


def test_the_verb_writes_a_file_to_be_appended(tmp_path, capsys):
    """And says how many there are."""
    (tmp_path / "mine.toml").write_text('name = "mine"\nclasses = ["cat", "dog"]\n')
    run = {"settings": {"contract": str(tmp_path / "mine.toml")}}
    entry = lacking("accuracy.mAP", "accuracy.mine.mAP", 0.5)
    write_results(tmp_path / "results.json", environment={}, artifacts=[], verdicts=[entry], unjudged=[], run=run)
    command = ["limits", "--record", str(tmp_path / "results.json")]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert main([*command, "--output", str(tmp_path / "limits.toml")]) == 0
    assert (tmp_path / "limits.toml").read_text() == printed.removesuffix("\n")
    assert "1 limits, 0 not recorded" in capsys.readouterr().out
