"""Categories that are not called like the model's classes: by name, as they are said to be, and what has no counterpart as in pycocotools."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fcos_lib.cli.main import main
from fcos_lib.contract import SHAPES
from fcos_lib.errors import UsageError
from fcos_lib.measure.coco.metrics import evaluate
from fcos_lib.measure.coco.paired import paired_difference
from fcos_lib.measure.coco.ruler import Ruler
from fcos_lib.measure.coco.truth import read_truth
from fcos_lib.measure.detections.worst import objects_of
from fcos_lib.stream.dataset import open_dataset
from fcos_lib.stream.naming import naming
from fixtures.settings import EMBEDDED
from tests.unit.hostile import makers
from tests.unit.measure.builders import detections, found_objects, shaken
from tests.unit.stream.test_annotations import folder, same_as_pycocotools

OTHERS = {"blue disc": "Ball, blue", "red square": "a=b", "green ring": "绿环"}
PAIRS = [f"{name}={own}" for name, own in OTHERS.items()]


def renamed(document):
    """Three categories under other names."""
    for category in document["categories"]:
        category["name"] = OTHERS.get(category["name"], category["name"])


def fewer(document):
    """Two of the classes are no category, and a category with objects is no class."""
    renamed(document)
    for category in document["categories"]:
        category["name"] = {"cyan triangle": "tree"}.get(category["name"], category["name"])
    gone = next(category for category in document["categories"] if category["name"] == "magenta star")
    document["categories"].remove(gone)
    document["annotations"] = [each for each in document["annotations"] if each["category_id"] != gone["id"]]


def detected(dataset, seed=0):
    """Something near every object, as any class of the model."""
    truth, random = read_truth(dataset), np.random.default_rng(seed)
    label = {category: number for number, category in enumerate(truth.label_categories(SHAPES).tolist())}
    found = {}
    for position, number in enumerate(truth.picture_ids.tolist()):
        rows = np.flatnonzero(truth.pictures == position)
        table = [[*truth.corners[row], 1.0, label.get(int(truth.categories[row]), random.integers(8))] for row in rows]
        found[number] = detections(*table, [1, 1, 20, 20, 0.5, SHAPES.classes.index("magenta star")])
    return shaken(found, 8, seed)


@pytest.mark.parametrize(("change", "without"), [(renamed, 0), (fewer, 2)], ids=["renamed", "fewer"])
def test_the_numbers_are_pycocotools(tmp_path, change, without):
    """Classes without a category are not looked at; a category without a class has an AP of 0, which counts."""
    dataset = open_dataset(folder(tmp_path / "coco", change), naming("shapes", PAIRS))
    assert dataset.contract is SHAPES
    assert sum(number < 0 for number in dataset.category_ids.values()) == without
    for seed in range(3):
        found = detected(dataset, seed)
        twelve = same_as_pycocotools(dataset.annotations, dataset, found)
        assert twelve[0] > 0.05, f"mAP {twelve[0]} is so low that much could hide there"
        measured = evaluate(dataset, SHAPES, found)
        ours = measured.details["numbers"] | {f"AP of {n}": v for n, v in measured.details["per_class"].items()}
        theirs = Ruler(dataset.annotations, SHAPES, dataset.naming.classes).numbers(found)
        assert ours == pytest.approx(theirs, rel=0, abs=1e-12)
        assert ("AP of tree" in theirs) == (change is fewer)
        assert "AP of green ring" in theirs
        paired = paired_difference(read_truth(dataset), SHAPES, found, detected(dataset, seed + 7), resamples=10)
        assert paired.n == 6
    assert len(objects_of(dataset.pictures, read_truth(dataset), SHAPES)) == 6


def test_what_has_no_counterpart_is_said(tmp_path):
    """How many on either side, and the first names."""
    dataset = open_dataset(folder(tmp_path / "coco", fewer), naming("shapes", PAIRS))
    said = [remark for remark in dataset.remarks if "model" in remark]
    assert said == [
        "2 classes of the model are no category, and what it finds of them does not count (cyan triangle, magenta star)",
        "1 categories are no class of the model, so that their AP is 0 and counts (tree)",
    ]
    assert not open_dataset(folder(tmp_path / "all", renamed), naming("shapes", PAIRS)).remarks


@pytest.mark.parametrize(
    ("contract", "pairs", "words"),
    [
        (None, ["red square=x"], "--category red square=x does not say of which model"),
        ("shapes", ["dog=yellow triangle"], "--category: dog is no class of contract 'shapes'"),
        ("shapes", ["red square=yellow triangle", "red square=tree"], "--category: red square is given twice"),
        ("shapes", ["red square=tree", "blue disc=tree"], "--category: tree is given twice"),
        ("shapes", ["red square=nowhere"], "--category: nowhere is no category of"),
        ("shapes", ["red square=tree"], "has a category red square of its own"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else None,
)
def test_what_is_unclear_is_refused(tmp_path, contract, pairs, words):
    """Nothing is guessed about which category is which class."""
    root = folder(tmp_path / "coco", lambda document: document["categories"].append({"id": 500, "name": "tree"}))
    with pytest.raises(UsageError) as caught:
        open_dataset(root, naming(contract, pairs))
    assert words in caught.value.found, caught.value.found


def test_without_a_word_names_have_to_be_the_same(tmp_path):
    """A contract by name is no mapping."""
    dataset = open_dataset(folder(tmp_path / "coco", fewer), naming("shapes"))
    with pytest.raises(UsageError, match=r"contract 'shapes' has 5 classes that .* lacks \(blue disc") as caught:
        _ = dataset.contract
    assert "--category" in caught.value.advice
    assert "leave --contract out" not in caught.value.advice, "that ends in another refusal"
    shapes = open_dataset(folder(tmp_path / "shapes", lambda document: None), naming("coco_r50"))
    with pytest.raises(
        UsageError, match="leave --contract out: the dataset's categories are those of shapes; or say with"
    ):
        _ = shapes.contract
    with pytest.raises(UsageError, match="no model contract fits the dataset's 8 categories"):
        _ = open_dataset(folder(tmp_path / "other", renamed)).contract


def test_what_the_embedded_model_finds_is_worth_the_same_under_other_names(tmp_path):
    """The same numbers to the last bit, whatever the categories are called."""
    dataset = open_dataset(EMBEDDED)
    document = json.loads(dataset.annotations.read_text())
    renamed(document)
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").symlink_to(dataset.root / "val2017")
    (root / makers.ANNOTATIONS).write_text(json.dumps(document))
    other = open_dataset(root, naming("shapes", PAIRS))
    found = shaken(found_objects(read_truth(dataset), SHAPES), 8, 0)
    ours, theirs = evaluate(other, SHAPES, found), evaluate(dataset, SHAPES, found)
    assert ours.value == theirs.value
    assert ours.details["per_class"] == theirs.details["per_class"]
    assert replace(other, annotations=dataset.annotations).contract is SHAPES


def test_the_verbs_take_it(tmp_path, capsys):
    """`preprocess` and `evaluate`; another text than CLASS=NAME is a usage error."""
    root = folder(tmp_path / "coco", fewer)
    options = [word for pair in PAIRS for word in ("--category", pair)]
    words = ["preprocess", "--dataset", str(root), "--contract", "shapes", *options, "--output", str(tmp_path / "bins")]
    assert main([*words, "--jobs", "1"]) == 0
    said = capsys.readouterr()
    assert "6 pictures in" in said.out
    assert "1 categories are no class of the model" in said.err
    assert main(["preprocess", "--dataset", str(root), "--output", str(tmp_path / "no")]) == 3
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--category", "person"])
