"""`evaluate --detections` and `compare`: results of any detector on the command line, as a gate, JSON, Markdown and a page."""

import contextlib
import html
import io
import json
import re
from types import SimpleNamespace

import pytest

from fcos_lib.cli.main import main
from fcos_lib.measure.coco.metrics import TWELVE
from tests.unit.measure.result_files import by_pycocotools, draw


def run(*arguments):
    """Run one command line in this process; its exit status, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stopped:  # argparse
            status = stopped.code
    return SimpleNamespace(status=status, out=out.getvalue(), err=err.getvalue())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Annotations and the results of two detectors."""
    return draw(tmp_path_factory.mktemp("two") / "coco", seed=4)


@pytest.fixture(scope="module")
def compared(files):
    """What `compare --format json` prints."""
    return json.loads(compare(files, "--format", "json").out)


def compare(files, *more):
    """B against A."""
    return run("compare", files.a, files.b, "--annotations", files.instances, "--resamples", "100", *more)


def test_evaluate_prints_pycocotools_numbers_with_intervals(files):
    """As JSON each to 1e-12, as text and Markdown to four digits."""
    options = ["--detections", files.a, "--annotations", files.instances, "--resamples", "100"]
    whole = run("evaluate", *options, "--format", "json")
    document = json.loads(whole.out)
    theirs = dict(zip(TWELVE, by_pycocotools(files.instances, files.a).stats.tolist(), strict=True))
    ours = {name: entry["value"] for name, entry in document["numbers"].items()}
    assert whole.status == 0
    assert ours == pytest.approx(theirs, rel=0, abs=1e-12)
    assert document["detections"]["empty_pictures"] == 2, "the first picture, and one by chance"
    low, high = (document["numbers"]["mAP"][end] for end in ("low", "high"))
    assert 0 < low < theirs["mAP"] < high < 1, f"the interval of mAP {theirs['mAP']} is {low} to {high}"
    text = run("evaluate", *options).out
    assert re.search(rf"^  mAP +{theirs['mAP']:.4f} +{low:.4f} to {high:.4f} +20$", text, re.M), text
    assert (
        f"| mAP | {theirs['mAP']:.4f} | {low:.4f} to {high:.4f} | 20 |"
        in run("evaluate", *options, "--format", "markdown").out
    )


def test_the_ruler_is_asked_when_wished(files, monkeypatch):
    """pycocotools counts the same files; another number is exit status 1."""
    options = ["--detections", files.b, "--annotations", files.instances, "--resamples", "100", "--ruler"]
    right = run("evaluate", *options)
    assert (right.status, "pycocotools computes the same; the largest distance" in right.out) == (0, True)
    monkeypatch.setattr("fcos_lib.cli.evaluate.numbers_of_files", lambda *_: dict.fromkeys(TWELVE, 0.5))
    wrong = run("evaluate", *options)
    assert (wrong.status, "pycocotools computes OTHER NUMBERS" in wrong.out) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["evaluate"], 2, "one of the arguments --results --detections is required"),
        (["evaluate", "--results", "r", "--detections", "d"], 2, "not allowed with argument"),
        (["evaluate", "--detections", "d"], 3, "--detections needs --annotations"),
        (["evaluate", "--results", "r"], 3, "--results needs --dataset"),
        (["evaluate", "--detections", "d", "--annotations", "i", "--dataset", "c"], 3, "--dataset and --contract belong to --results"),
        (["evaluate", "--detections", "d", "--annotations", "i", "--contract", "shapes"], 3, "--contract belong to --results"),
        (["evaluate", "--results", "r", "--dataset", "c", "--annotations", "i"], 3, "--annotations, --ruler and --format belong"),
        (["evaluate", "--results", "r", "--dataset", "c", "--ruler"], 3, "--annotations, --ruler and --format belong"),
        (["evaluate", "--results", "r", "--dataset", "c", "--format", "json"], 3, "--annotations, --ruler and --format belong"),
        (["compare", "A", "B"], 3, "two COCO result files need --annotations"),
        (["compare", "A", "none.json", "--annotations", "I"], 3, "none.json cannot be read (No such file or directory)"),
        (["compare", "A", "RUN", "--annotations", "I"], 3, "is an object and"),
        (["compare", "RUN", "RUN", "--annotations", "I"], 3, "--annotations cannot be used with stored runs"),
        (["compare", "RUN", "RUN", "--min-delta", "0"], 3, "--min-delta cannot be used with stored runs"),
        (["compare", "RUN", "RUN", "--format", "markdown"], 3, "--format markdown cannot be used with stored runs"),
        (["compare", "A", "B", "--annotations", "I", "--page", "x.txt"], 3, "x.txt is no .html"),
        (["compare", "A", "B", "--annotations", "I", "--min-delta", "nan"], 2, "'nan' is no difference in AP"),
        (["compare", "A", "B", "--annotations", "I", "--min-delta", "-2"], 2, "'-2' is no difference in AP"),
        (["compare", "A", "B", "--annotations", "I", "--resamples", "99"], 2, "--resamples"),
        (["compare", "A", "B", "--annotations", "A"], 3, "holds a list, not an object"),
        (["compare", "A", "I", "--annotations", "I"], 3, "is an object and"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)  # fmt: skip
def test_options_that_do_not_fit_together_are_refused(files, tmp_path, arguments, status, words):
    """In words, before anything is computed."""
    stored = tmp_path / "results.json"
    stored.write_text("{}")
    names = {"A": files.a, "B": files.b, "I": files.instances, "RUN": stored}
    result = run(*(names.get(argument, argument) for argument in arguments))
    assert result.status == status, result.err
    assert words in result.err


def test_the_difference_is_that_of_two_evaluations(files, compared):
    """Of all twelve numbers; the interval of mAP does not hold 0, since B is worse."""
    before, after = (by_pycocotools(files.instances, path).stats.tolist() for path in (files.a, files.b))
    for name, first, second in zip(TWELVE, before, after, strict=True):
        entry = compared["numbers"][name]
        assert (entry["a"], entry["b"], entry["value"]) == pytest.approx(
            (first, second, second - first), rel=0, abs=1e-12
        )
    assert compared["numbers"]["mAP"]["high"] < 0
    assert set(compared["per_class"]) == {"person", "dog", "car"}
    pictures = compared["pictures"]
    assert pictures["better"] + pictures["worse"] + pictures["unmoved"] == pictures["count"] == 24
    assert pictures["worse"] > pictures["better"]
    assert len(pictures["deciding"]) == 10
    assert compared["error_types"]["missed"]["b"] > compared["error_types"]["missed"]["a"]
    assert compared["verdict"] is None


@pytest.mark.parametrize(
    ("bound", "status", "word", "why"),
    [
        ("low", 0, "PASS", "is asked for, and all of the interval is"),
        ("high", 1, "FAIL", "is asked for, and the whole interval is below"),
        ("value", 7, "NO VERDICT", "the limit lies inside the interval"),
    ],
)
def test_the_gate_is_decided_by_the_whole_interval(files, compared, bound, status, word, why):
    """As every gate: within the limit, outside of it, or undecided; the exit status says which."""
    end = compared["numbers"]["mAP"][bound] + {"low": -1e-6, "high": 1e-6, "value": 0}[bound]
    result = compare(files, f"--min-delta={end:.9f}")
    assert result.status == status
    assert f"\n{word}: mAP of B - A is " in result.out
    assert why in result.out
    document = json.loads(compare(files, f"--min-delta={end:.9f}", "--format", "json").out)
    assert document["verdict"]["outcome"] == word
    assert compare(files).status == 0, "without a gate nothing is red"


def test_a_file_against_itself_is_the_same(files):
    """No difference, no picture that decides, and a gate at 0 that passes."""
    result = run(
        "compare", files.a, files.a, "--annotations", files.instances, "--resamples", "100", "--min-delta", "0"
    )
    assert result.status == 0
    assert "pictures: 0.0 % better (0), 0.0 % worse (0), 100.0 % neither (24)" in result.out
    assert "pictures that decide it" not in result.out


def test_two_files_without_a_detection_are_no_verdict(files, tmp_path):
    """They agree on everything: two detectors that are broken are no proof."""
    empty = tmp_path / "empty.json"
    empty.write_text("[]")
    options = ("--annotations", files.instances, "--resamples", "100", "--min-delta", "0")
    result = run("compare", empty, empty, *options)
    assert result.status == 7
    assert "asked for, neither file holds a detection" in result.out
    assert run("compare", files.a, empty, *options).status == 1


def test_nothing_to_judge_is_no_verdict(tmp_path):
    """No object at all: there is no AP, and no gate passes."""
    (tmp_path / "i.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "1.jpg", "width": 9, "height": 9}],
                "annotations": [],
                "categories": [{"id": 1, "name": "cat"}],
            }
        )
    )
    (tmp_path / "a.json").write_text("[]")
    files = SimpleNamespace(instances=tmp_path / "i.json", a=tmp_path / "a.json", b=tmp_path / "a.json")
    result = compare(files, "--min-delta", "-1")
    assert result.status == 7
    assert (
        "NO VERDICT: mAP of B - A is +0.0000 (+0.0000 to +0.0000), at least -1 is asked for, no object counts"
        in result.out
    )
    assert run("evaluate", "--detections", files.a, "--annotations", files.instances).status == 0
    assert compare(files, "--format", "json", "--page", tmp_path / "p.html").status == 0


def test_markdown_and_text_say_the_same(files, compared):
    """The numbers, the categories, the kinds of error and the pictures, in tables."""
    text, markdown = compare(files).out, compare(files, "--format", "markdown").out
    change = compared["numbers"]["mAP"]
    row = (
        f"{change['a']:.4f}",
        f"{change['b']:.4f}",
        f"{change['value']:+.4f}",
        f"{change['low']:+.4f} to {change['high']:+.4f}",
    )
    assert re.search(rf"^  mAP +{' +'.join(map(re.escape, row))} +20$", text, re.M), text
    assert f"| mAP | {' | '.join(row)} | 20 |" in markdown
    first = compared["pictures"]["deciding"][0]
    for shown in (text, markdown):
        assert first["file_name"] in shown
        assert "missed" in shown


def test_the_page_shows_it(files, tmp_path):
    """One HTML file with the verdict, the difference, the kinds of error and the pictures."""
    page = tmp_path / "compared.html"
    result = compare(files, "--page", page, "--min-delta", "0")
    words = html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8"))))
    assert result.status == 1
    for part in (
        "COCO results: B against A",
        "FAIL",
        "Pictures that decide it",
        "AP50 that each kind of mistake costs",
        "(--min-delta)",
    ):
        assert part in words, f"the page does not say {part}"
    assert "could not be drawn" not in words
    assert "limits.toml" not in words, "the limit is the command line's"


def test_names_from_files_act_on_nothing(files, tmp_path):
    """A category and a picture that are markup and look like a command of a CI job; control characters are refused."""
    document = json.loads(files.instances.read_text())
    for category in document["categories"]:
        category["name"] = f"::error::<script>{category['id']}</script>|`x`"
    for image in document["images"]:
        image["file_name"] = f"<img src=x onerror=alert({image['id']})>"
    bad = SimpleNamespace(a=files.a, b=files.b, instances=tmp_path / "bad.json")
    bad.instances.write_text(json.dumps(document))
    page = tmp_path / "p.html"
    text, markdown = compare(bad, "--page", page).out, compare(bad, "--format", "markdown").out
    assert not re.search(r"^\s*::error", text + markdown, re.M), "a line begins with a command"
    assert "<img" not in markdown
    assert "<script>" not in markdown
    assert "<img src" not in page.read_text(encoding="utf-8")
    document["categories"][0]["name"] = "cat\x1b[31m"
    bad.instances.write_text(json.dumps(document))
    assert "categories[0] has a name that cannot be printed in a line" in compare(bad).err


def test_two_stored_runs_are_compared_as_diff_does(tmp_path):
    """The same words and exit status, nothing of its own."""
    from fcos_lib.evidence.results import write_results
    from fcos_lib.judge.limits import Limit
    from fcos_lib.judge.verdict import decide
    from fcos_lib.measure import Measurement

    for name, value in (("one", 0.4), ("two", 0.3)):
        verdict = decide(
            "accuracy", "batch1", Measurement("mAP", value, "AP", 9), Limit("x", 0.35, True, "AP", "s"), stand_in=False
        )
        write_results(
            tmp_path / f"{name}.json", environment={}, artifacts=[], verdicts=[{**verdict.as_dict(), "test": "t"}], unjudged=[],
            run={"exit_status": 0},
        )  # fmt: skip
    runs = [tmp_path / "one.json", tmp_path / "two.json"]
    by_compare, by_diff = run("compare", *runs), run("diff", *runs)
    assert by_compare.out == by_diff.out
    assert "another verdict" in by_compare.out
    assert by_compare.status == by_diff.status == 1
    assert run("compare", *runs, "--format", "json").out == run("diff", *runs, "--json").out
