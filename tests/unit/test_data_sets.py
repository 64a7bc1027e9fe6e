"""Runs on datasets of other people's making: the real suite says what is unusual, judges what can be judged, and no more."""

import json
import os
import shutil
from types import SimpleNamespace

import pytest
from PIL import Image

from fcos_lib.stream.dataset import open_dataset
from fixtures import datasets
from fixtures.checks import OPENED, check_before_work
from fixtures.options import pytest_report_header, settings
from fixtures.settings import EMBEDDED, EMBEDDED_CHECKPOINT
from tests.unit.hostile.makers import ANNOTATIONS
from tests.unit.parsed import parsed
from tests.unit.stream.test_picture_formats import with_orientation

OPTIONS = (
    "tests/acceptance",
    "-m",
    "(accuracy or consistency) and not witness",
    "--npu",
    "emulated",
    "--batch-sizes",
    "4",
)


@pytest.fixture
def data_set(tmp_path):
    """A copy of the first pictures of the embedded dataset, with its document changed and pictures linked."""

    def make(change, count=24):
        document = json.loads((EMBEDDED / ANNOTATIONS).read_text())
        document["images"] = document["images"][:count]
        kept = {image["id"] for image in document["images"]}
        document["annotations"] = [each for each in document["annotations"] if each["image_id"] in kept]
        before = [EMBEDDED / "val2017" / image["file_name"] for image in document["images"]]
        change(document)
        root = tmp_path / "my data"
        for picture, image in zip(before, document["images"], strict=True):
            path = root / "val2017" / image["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(picture, path)
        (root / "annotations").mkdir()
        (root / ANNOTATIONS).write_text(json.dumps(document))
        return f"--dataset={root}", f"--checkpoint={EMBEDDED_CHECKPOINT}"

    return make


def outcomes(folder):
    """The verdicts of a run by gate: the outcome, how many samples, and where."""
    document = json.loads((folder / "artifacts" / "results" / "results.json").read_text())
    return document, {entry["key"]: entry["measurement"] | entry for entry in document["verdicts"]}


@pytest.mark.slow
def test_without_any_object_there_is_no_map_and_all_else_is_judged(run, data_set, tmp_path):
    """NO VERDICT with its reason for what needs objects; what compares the two sides is judged."""
    done = run(*OPTIONS, *data_set(lambda document: document["annotations"].clear()))
    assert done.returncode == 7, done.stdout + done.stderr
    assert "fcos: the dataset has no object in any of 24 pictures, so there is no mAP" in done.stdout
    assert "why it differs" not in done.stdout, "of what was not measured a cause was looked for"
    _, verdicts = outcomes(tmp_path)
    for key in ("accuracy.mAP", "accuracy.mAP_as_published", "paired.loss"):
        assert (verdicts[key]["outcome"], verdicts[key]["n"]) == ("NO VERDICT", 0), verdicts[key]
        assert verdicts[key]["where"] in ("no class has an object", "no picture has an annotation")
    judged = {key for key, verdict in verdicts.items() if verdict["outcome"] == "STAND-IN"}
    assert {"accuracy.ruler", "accuracy.not_counted_once", "consistency.unexplained"} <= judged, judged


def test_pictures_that_exif_turns_are_said_of_those_under_test(data_set, tmp_path):
    """Before any is decoded; `preprocess`, which decodes them all, says it as well."""
    words = data_set(lambda document: None, count=8)
    root = tmp_path / "my data"
    pictures = open_dataset(root).pictures
    for picture in (pictures[0], pictures[5]):
        pixels = Image.open(picture.path).convert("RGB")
        picture.path.unlink()  # it is a link to the embedded one
        picture.path.write_bytes(with_orientation(pixels, "JPEG", 3))
    said = []
    for part in ((), ("--pictures=2",)):
        folders = (f"--artifacts={tmp_path / 'artifacts'}", f"--benchmark-storage={tmp_path / 'history'}")
        config = parsed([*words, *part, *folders])
        check_before_work(config, settings(config))
        said += [remark for remark in config.stash[OPENED].remarks if "EXIF" in remark]
    assert [remark[:35] for remark in said] == [
        "2 pictures with an EXIF orientation",
        "1 pictures with an EXIF orientation",
    ]
    assert said[0].endswith(f"({pictures[0].name}, {pictures[5].name})")
    shown = [line for line in pytest_report_header(config) if "EXIF" in line]
    assert shown == [f"fcos: the dataset has {said[1]}"]


@pytest.mark.parametrize("where", ["controller", "worker", "looking only"])
def test_part_of_a_data_set_in_folders_is_known_for_a_part(data_set, tmp_path, monkeypatch, where):
    """The reference's own mAP is left out then, and only then: files that are not annotated are no pictures of it."""
    words = data_set(
        lambda document: [
            image.update(file_name=f"{image['id'] % 2}/{image['file_name']}") for image in document["images"]
        ]
    )
    if where != "looking only":
        (tmp_path / "my data" / "val2017" / "of another part.jpg").touch()
    left_out = []
    monkeypatch.setattr(datasets, "leave_out", lambda config, items, mark, *_, **__: left_out.append(mark))
    for part in ("--pictures=23", "--pictures=24"):
        config = parsed([*words, part, f"--artifacts={tmp_path / 'artifacts'}"])
        if where != "looking only":
            config.stash[OPENED] = open_dataset(tmp_path / "my data")
        if where == "worker":
            node = SimpleNamespace(config=config, workerinput={})
            datasets.pytest_configure_node(node)
            config = parsed([*words, part, f"--artifacts={tmp_path / 'artifacts'}"])
            config.workerinput = node.workerinput
        datasets.pytest_collection_modifyitems(config, [])
    assert left_out == ["reference"]


def unusual(document):
    """Folders, other names, another class, floats, no areas, and one id for two objects."""
    for number, image in enumerate(document["images"]):
        image |= {
            "file_name": f"{number % 2}/{number // 2}.png",
            "width": float(image["width"]),
            "id": 2**62 + image["id"],
        }
    names = {"red square": "Quadrat, rot", "green ring": "ring=green"}
    document["categories"] = [
        {**each, "name": names.get(each["name"], each["name"])} for each in document["categories"]
    ]
    gone = next(each for each in document["categories"] if each["name"] == "magenta star")
    document["categories"].remove(gone)
    document["annotations"] = [each for each in document["annotations"] if each["category_id"] != gone["id"]]
    for record in document["annotations"]:
        record["image_id"] += 2**62
        del record["area"]
    document["annotations"][5]["id"] = document["annotations"][4]["id"]


@pytest.mark.slow
def test_what_is_unusual_is_said_and_judged_by_pycocotools_own_numbers(run, data_set, tmp_path):
    """In the header, once; the ruler, which is pycocotools on the same file, agrees in every number."""
    named = ("--contract=shapes", "--category=red square=Quadrat, rot", "--category=green ring=ring=green")
    words = data_set(unusual)
    shutil.move(tmp_path / "my data", tmp_path / "数据")
    done = run(*OPTIONS, f"--dataset={tmp_path / '数据'}", *words[1:], *named)
    said = [line for line in done.stdout.splitlines() if line.startswith("fcos: the dataset has ")]
    assert len(said) == len(set(said)) == 4, said
    assert "boxes without an area" in said[0]
    assert "1 annotation ids of more than one box" in said[1]
    assert "(magenta star)" in said[-1]
    document, verdicts = outcomes(tmp_path)
    ruler = verdicts["accuracy.ruler"]
    assert ruler["outcome"] == "STAND-IN", ruler
    assert ruler["value"] < 1e-12, f"COCO's numbers differ from pycocotools' by {ruler['value']}: {ruler['where']}"
    assert verdicts["accuracy.not_counted_once"]["outcome"] == "STAND-IN"
    assert verdicts["consistency.unexplained"]["outcome"] == "STAND-IN"
    assert document["run"]["settings"]["category"] == [word.partition("=")[2] for word in named[1:]]
    assert "--category" in document["run"]["options"]
    value = verdicts["accuracy.mAP"]["value"]
    assert 0.3 < value < 1, f"mAP {value} of the trained model"


EXCHANGES = """
import os
from fcos_lib.stream.journal import Journal

merge = Journal.merge

def merged(journal):
    first, second = (journal.pictures[index].path for index in (1, 3))
    for old, new in ((first, "kept"), (second, first.name), (first.with_name("kept"), second.name)):
        os.rename(old, old.with_name(new))
    return merge(journal)

Journal.merge = merged
"""
"""Another process that exchanges two pictures of one size when the candidate has seen them, and the reference has not."""


def test_pictures_that_change_during_a_run_are_named_instead_of_the_model(run, data_set, tmp_path):
    """The sides saw other pictures: to say that the candidate finds other things in them would be true, and misleading."""
    words = data_set(lambda document: None)
    (tmp_path / "exchanges.py").write_text(EXCHANGES)
    done = run("-p", "exchanges", *OPTIONS, "-k", "candidate_reaches", "--no-explain", *words, path=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    changed = "the files of 2 pictures changed while the run was under way: 000000001007.jpg, 000000001021.jpg"
    assert changed in done.stdout, done.stdout
    _, verdicts = outcomes(tmp_path)
    assert "accuracy.unlike_reference" not in verdicts
