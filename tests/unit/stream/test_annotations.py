"""COCO folders as people have them: taken with pycocotools' own numbers, counted and said, or refused by file and entry."""

import copy
import gc
import json
import os
import shutil

import numpy as np
import pytest

from fcos_lib.cli.main import main
from fcos_lib.contract import SHAPES
from fcos_lib.errors import DatasetError
from fcos_lib.measure.coco.as_published import as_published
from fcos_lib.measure.coco.matching import match
from fcos_lib.measure.coco.metrics import evaluate, twelve_numbers
from fcos_lib.measure.coco.ruler import Ruler
from fcos_lib.measure.coco.truth import read_truth
from fcos_lib.recipe.bins import pictures_by_stem
from fcos_lib.stream.annotations import read_annotations
from fcos_lib.stream.dataset import Picture, open_dataset, read_picture
from fcos_lib.stream.journal_shards import Maker, pack_shard, unpack_shard
from tests.unit.hostile import makers
from tests.unit.measure.builders import NOTHING, detections, shaken
from tests.unit.measure.result_files import by_pycocotools

LARGEST = 2**63 - 1
NAMES = SHAPES.classes


def folder(root, change=lambda document: None):
    """A COCO folder with six pictures and a dozen objects of all classes, its document changed."""
    random = np.random.default_rng(1)
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 40, "height": 30} for n in range(1, 7)]
    objects = []
    for number in range(1, 25):
        box = [*random.integers(0, 10, 2).tolist(), *random.integers(8, 20, 2).tolist()]
        objects.append({
            "id": number, "image_id": 1 + number % 6, "category_id": 11 * (1 + number % 8), "bbox": box,
            "area": box[2] * box[3], "iscrowd": int(number == 7),
        })  # fmt: skip
    categories = [{"id": 11 * (1 + index), "name": name} for index, name in enumerate(NAMES)]
    document = {"images": images, "categories": categories, "annotations": objects}
    change(document)
    for image in document["images"]:
        path = root / "val2017" / str(image["file_name"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(makers.JPEG)
    (root / "annotations").mkdir(parents=True)
    (root / makers.ANNOTATIONS).write_text(json.dumps(document))
    return root


def each(key, **changes):
    """A change of every record of a list: `field=function of the old value`."""

    def change(document):
        for record in document[key]:
            record |= {field: new(record[field]) for field, new in changes.items()}

    return change


def found_in(dataset, seed=0):
    """Detections near the objects, some of them moved, lost or of another class."""
    truth = read_truth(dataset)
    label = {category: number for number, category in enumerate(truth.label_categories(SHAPES).tolist())}
    found = {picture.id: NOTHING for picture in dataset.pictures}
    for number in found:
        rows = np.flatnonzero(truth.picture_ids[truth.pictures] == number)
        corners = [[*truth.corners[row], 1.0, label.get(int(truth.categories[row]), 0)] for row in rows]
        found[number] = detections(*corners) if corners else NOTHING
    return shaken(found, 8, seed)


def same_as_pycocotools(path, dataset, found, pictures=None):
    """Assert that all twelve numbers are those of pycocotools, which reads the file at `path` by itself."""
    rows = []
    for number, one in sorted(found.items()):
        for box, score, label in zip(one.boxes.tolist(), one.scores.tolist(), one.labels.tolist(), strict=True):
            category = dataset.category_ids[NAMES[label]]
            size = [box[2] - box[0], box[3] - box[1]]
            rows.append({"image_id": number, "category_id": category, "bbox": [*box[:2], *size], "score": score})
    expected = by_pycocotools(path, rows, pictures).stats.tolist()
    truth = read_truth(dataset).only(pictures) if pictures else read_truth(dataset)
    chosen = {number: found[number] for number in truth.picture_ids.tolist()}
    ours = list(twelve_numbers(match(truth, SHAPES, chosen)).values())
    assert ours == pytest.approx(expected, rel=0, abs=1e-12), (
        f"COCO's twelve are {ours} here, {expected} by pycocotools"
    )
    return expected


def unused(document):
    """A category that no annotation has."""
    document["categories"].append({"id": 999, "name": "unicorn"})


def zero(document):
    """One object has the id 0."""
    document["annotations"][3]["id"] = 0


def same_box_twice(document):
    """The same record twice."""
    document["annotations"].append(dict(document["annotations"][2]))


def ids_from_one_in_each_picture(document):
    """As converters number them that go picture by picture."""
    counts = {}
    for record in document["annotations"]:
        record["id"] = counts[record["image_id"]] = counts.get(record["image_id"], 0) + 1


def three_alike(document):
    """Three objects, of different pictures, have one id."""
    for index in (3, 9, 10):
        document["annotations"][index]["id"] = 4


def out_of_the_picture(document):
    """Two boxes that reach out, and two of no size."""
    document["annotations"][0]["bbox"] = [-30, -5, 100, 100]
    document["annotations"][5]["bbox"] = [35, 25, 20, 20]
    document["annotations"][6]["bbox"] = [1, 1, 0, 5]
    document["annotations"][8]["bbox"] = [20, 20, -4, -4]


def empty_pictures(document):
    """The first two pictures have no object."""
    document["annotations"] = [record for record in document["annotations"] if record["image_id"] > 2]


def in_folders(document):
    """Pictures in folders, with the same names in each."""
    for image in document["images"]:
        image["file_name"] = f"{'day' if image['id'] % 2 else 'night/late'}/{(image['id'] + 1) // 2}.jpg"


def large_ids(document):
    """All ids count down from the largest."""
    for key, fields in (("images", ["id"]), ("categories", ["id"]), ("annotations", ["id", "image_id", "category_id"])):
        for record in document[key]:
            record |= {field: LARGEST - record[field] for field in fields}


TAKEN = {
    "sub-folders": in_folders,
    "sizes-as-floats": each("images", width=float, height=float),
    "ids-as-floats": lambda document: [
        each("images", id=float)(document),
        each("categories", id=float)(document),
        each("annotations", id=float, image_id=float, category_id=float)(document),
    ],
    "ids-of-pictures-as-floats": each("images", id=float),
    "largest-ids": large_ids,
    "neighbours-that-a-float-cannot-tell-apart": lambda document: [
        each("images", id=lambda number: 2**60 + number)(document),
        each("annotations", image_id=lambda number: 2**60 + number)(document),
    ],
    "crowd-as-truth": each("annotations", iscrowd=bool),
    "unused-category": unused,
    "annotation-0": zero,
    "the-same-box-twice": same_box_twice,
    "annotation-ids-from-1-in-each-picture": ids_from_one_in_each_picture,
    "three-boxes-with-one-id": three_alike,
    "out-of-the-picture": out_of_the_picture,
    "pictures-without-objects": empty_pictures,
}


@pytest.mark.parametrize("change", TAKEN.values(), ids=TAKEN)
def test_what_pycocotools_takes_has_its_numbers(tmp_path, change, capsys):
    """All twelve, over all pictures and over some; and the ruler, which a run is held to, finds nothing to object."""
    dataset = open_dataset(folder(tmp_path / "coco", change))
    for seed in range(3):
        found = found_in(dataset, seed)
        twelve = same_as_pycocotools(dataset.annotations, dataset, found)
        assert twelve[0] > 0.05, f"mAP {twelve[0]} is so low that much could hide there"
        some = [picture.id for picture in dataset.pictures][::2]
        same_as_pycocotools(dataset.annotations, dataset, found, some)
        ruler = Ruler(dataset.annotations, SHAPES)
        ours = evaluate(dataset, SHAPES, found).details["numbers"]
        theirs = ruler.numbers(found)
        assert [theirs[name] for name in ours] == pytest.approx(list(ours.values()), rel=0, abs=1e-12)
        part = twelve_numbers(match(read_truth(dataset).only(some), SHAPES, {number: found[number] for number in some}))
        theirs = ruler.numbers({number: found[number] for number in some}, some)
        assert [theirs[name] for name in part] == pytest.approx(list(part.values()), rel=0, abs=1e-12)
    assert [read_picture(picture).shape for picture in dataset.pictures] == [(30, 40, 3)] * 6


def drop(field):
    """A change: no object has this field."""

    def change(document):
        for record in document["annotations"]:
            del record[field]

    return change


@pytest.mark.parametrize("change", [drop("area"), drop("iscrowd")], ids=["area", "iscrowd"])
def test_a_field_that_pycocotools_needs_is_completed(tmp_path, change):
    """It stops with a KeyError: the numbers are those of the same file with width x height, and with single objects."""

    def completed(document):
        for record in document["annotations"]:
            record.setdefault("area", record["bbox"][2] * record["bbox"][3])
            record.setdefault("iscrowd", 0)

    without = open_dataset(folder(tmp_path / "without", change))
    whole = open_dataset(folder(tmp_path / "whole", lambda document: (change(document), completed(document))))
    found = found_in(whole)
    same_as_pycocotools(whole.annotations, without, found)
    ours = evaluate(without, SHAPES, found).details["numbers"]
    theirs = Ruler(without.annotations, SHAPES).numbers(found)
    assert [theirs[name] for name in ours] == pytest.approx(list(ours.values()), rel=0, abs=1e-12)


SAID = {
    "nothing": (lambda document: None, None),
    "area": (drop("area"), "24 boxes without an area, which is taken for width x height (annotations 1, 2, 3, 4, 5, ... (24 in all))"),
    "iscrowd": (drop("iscrowd"), "24 boxes without iscrowd"),
    "outside": (out_of_the_picture, "2 boxes that reach out of their picture, used as they are (annotations 1, 6)"),
    "flat": (out_of_the_picture, "2 boxes without width or height, which nothing can find (annotations 7, 9)"),
    "rounded": (lambda document: document["annotations"][0].update(bbox=[-0.01, 20, 40.02, 10.01]), None),
    "zero": (zero, "a box with the annotation id 0, which pycocotools, and so this suite, counts as never found"),
    "twice": (same_box_twice, "1 annotation ids of more than one box"),
    "three": (three_alike, "takes the last: 2 boxes are not seen (ids 4)"),
    "empty": (empty_pictures, "2 pictures without an object (ids 1, 2)"),
    "none": (lambda document: document["annotations"].clear(), "no object in any of 6 pictures, so there is no mAP"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), SAID.values(), ids=SAID)
def test_what_is_unusual_is_counted_and_said_once(tmp_path, change, words):
    """How often, and the first ids; of an ordinary file nothing is said."""
    remarks = open_dataset(folder(tmp_path / "coco", change)).remarks
    if words is None:
        assert remarks == ()
    else:
        assert len([remark for remark in remarks if words in remark]) == 1, remarks
        assert len(remarks) == (2 if change is out_of_the_picture else 1), remarks


def put(key, index, **fields):
    """A change of one record of a list."""
    return lambda document: document[key][index].update(fields)


REFUSED = {
    "text-id": (put("images", 2, id="3"), 'images[2] has the id "3", which is no whole number'),
    "text-image-id": (put("annotations", 4, image_id="1"), 'annotations[4] has the image_id "1", which is no whole number'),
    "text-size": (put("images", 1, width="40"), 'images[1] has the width "40", which is no whole number'),
    "no-size": (lambda document: document["images"][1].pop("height"), "images[1] has no int 'height'"),
    "half-size": (put("images", 0, width=40.5), "images[0] has the width 40.5, which is no whole number"),
    "nan-size": (put("images", 0, width=float("nan")), "images[0] has the width NaN, which is no whole number"),
    "infinite-id": (put("images", 0, id=float("inf")), "images[0] has the id Infinity, which is no whole number"),
    "nan-id": (put("annotations", 5, id=float("nan")), "annotations[5] has the id NaN, which is no whole number"),
    "true-id": (put("annotations", 5, id=True), "annotations[5] has the id true, which is no whole number"),
    "list-id": (put("categories", 5, id=[1]), "categories[5] has the id [1], which is no whole number"),
    "float-id-beyond-its-digits": (put("images", 0, id=2.0**60), "images[0] has the id 1.152921504606847e+18, which is no whole"),
    "2^63": (put("images", 0, id=2**63), "images[0] has the id 9223372036854775808"),
    "minus": (put("annotations", 0, category_id=-1), "annotations[0] has the category_id -1"),
    "nan-box": (put("annotations", 0, bbox=[float("nan"), 0, 1, 1]), "annotation 1 has the box [nan, 0, 1, 1], not four finite"),
    "no-box": (lambda document: document["annotations"][0].pop("bbox"), "annotations[0] has no list 'bbox'"),
    "no-record": (lambda document: document["images"].append(7), "images[6] is no object"),
    "out-of-the-folder": (put("images", 0, file_name="a/../../b.jpg"), "images[0] has the file name 'a/../../b.jpg', which leaves"),
    "absolute": (put("images", 0, file_name="/etc/passwd"), "images[0] has the file name '/etc/passwd', which leaves the folder"),
    "a-folder": (put("images", 0, file_name="street/"), "images[0] has the file name 'street/', which leaves the folder"),
    "the-same-file": (lambda document: (put("images", 0, file_name="a/b.jpg")(document), put("images", 1, file_name="./a//b.jpg")(document)), "has duplicate file names: a/b.jpg"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused_by_file_and_entry(tmp_path, change, words):
    """One sentence; nothing is guessed."""
    root = folder(tmp_path / "coco")
    document = json.loads((root / makers.ANNOTATIONS).read_text())
    change(document)
    (root / makers.ANNOTATIONS).write_text(json.dumps(document))
    with pytest.raises(DatasetError) as caught:
        open_dataset(root)
    assert caught.value.found.startswith(f"{root / makers.ANNOTATIONS}")
    assert words in caught.value.found, caught.value.found
    assert "\n" not in caught.value.found


def test_pictures_of_one_name_in_two_folders_are_two_pictures(tmp_path):
    """Wherever they are named, the folder is."""
    dataset = open_dataset(folder(tmp_path / "coco", in_folders))
    names = [picture.name for picture in dataset.pictures]
    assert names == ["day/1.jpg", "night/late/1.jpg", "day/2.jpg", "night/late/2.jpg", "day/3.jpg", "night/late/3.jpg"]
    assert all(picture.path == tmp_path / "coco" / "val2017" / picture.name for picture in dataset.pictures)
    assert Picture(1, tmp_path / "x" / "a.jpg", 1, 1).name == "a.jpg"


def test_the_recipe_refuses_names_that_it_would_confuse(tmp_path):
    """It cuts folders off, and so says which two pictures it would take for one."""
    dataset = open_dataset(folder(tmp_path / "coco", in_folders))
    with pytest.raises(DatasetError, match=r"day/1\.jpg and night/late/1\.jpg would become the same file '1\.bin'"):
        pictures_by_stem(dataset)


def test_a_name_with_windows_own_separator_gets_its_own_advice(tmp_path):
    """Here it is a letter like any other."""
    root = folder(tmp_path / "coco", in_folders)
    text = (root / makers.ANNOTATIONS).read_text().replace("day/", "day\\\\")
    (root / makers.ANNOTATIONS).write_text(text)
    with pytest.raises(DatasetError, match=r"are not in .*day\\1.jpg") as caught:
        open_dataset(root)
    assert "write / between folders" in caught.value.advice


@pytest.mark.parametrize(
    ("named", "there", "advice"),
    [
        ("1.jpg", "1.JPG", "'1.JPG' is there, for '1.jpg': upper case, lower case and accents have to be the same"),
        ("\u00e9.jpg", "e\u0301.jpg", r"'e\u0301.jpg' is there, for '\xe9.jpg': "),
        ("val2017/1.jpg", "1.jpg", "leave val2017/ away"),
        ("1.jpg", "2.jpg", "unpack COCO's val2017.zip there"),
    ],
    ids=["case", "accent", "folder", "other"],
)
def test_a_picture_that_is_there_under_nearly_its_name_is_said_to_be(tmp_path, named, there, advice):
    """Names from Windows or a Mac, or written below another folder, look right, and COCO's own pictures would not help."""

    def rename(document):
        document["images"] = [document["images"][0] | {"file_name": named}]
        document["annotations"] = []

    root = folder(tmp_path / "coco", rename)
    shutil.rmtree(root / "val2017")
    (root / "val2017").mkdir()
    (root / "val2017" / there).touch()
    with pytest.raises(DatasetError, match="names pictures that are not in") as caught:
        open_dataset(root)
    assert advice in caught.value.advice, caught.value.advice


def test_links_stay_in_the_data_set(tmp_path):
    """The dataset's folder may be a link, the pictures' folder too, and one to elsewhere inside; a sub-folder that leads out may not."""
    root = folder(tmp_path / "coco", in_folders)
    (tmp_path / "link").symlink_to(root)
    assert len(open_dataset(tmp_path / "link").pictures) == 6
    os.rename(root / "val2017", root / "pictures")
    (root / "val2017").symlink_to("pictures")
    dataset = open_dataset(tmp_path / "link")
    assert [read_picture(picture).shape for picture in dataset.pictures] == [(30, 40, 3)] * 6
    os.rename(root / "pictures" / "day", root / "day")
    (root / "pictures" / "day").symlink_to("../day")
    assert len(open_dataset(root).pictures) == 6
    shutil.move(root / "day", tmp_path / "elsewhere")
    (root / "pictures" / "day").unlink()
    (root / "pictures" / "day").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=r"links that lead out of it: day/1.jpg, day/2.jpg, day/3.jpg"):
        open_dataset(root)
    (root / "pictures" / "day").unlink()
    with pytest.raises(DatasetError, match=r"are not in .*: day/1.jpg, day/2.jpg, day/3.jpg"):
        open_dataset(root)
    shutil.move(tmp_path / "elsewhere", root / "pictures" / "day")
    (root / "pictures" / "day" / "2.jpg").unlink()
    (root / "pictures" / "day" / "2.jpg").symlink_to("/etc/hostname")
    with pytest.raises(DatasetError, match=r"links that lead out of it: day/2.jpg"):
        open_dataset(root)


def test_no_id_goes_through_a_float(tmp_path):
    """Journals, results and their JSON keep the largest ids, and numpy's int64 is as good as Python's int."""
    dataset = open_dataset(folder(tmp_path / "coco", large_ids))
    found = found_in(dataset)
    ids = [picture.id for picture in dataset.pictures]
    assert ids == [LARGEST - number for number in range(6, 0, -1)]
    kept, _ = unpack_shard(pack_shard("s", found, Maker("host", 0, "0/0")), "s", ids)
    assert list(kept) == ids
    as_numpy = {np.int64(number): side for number, side in found.items()}
    measured, other = evaluate(dataset, SHAPES, found), evaluate(dataset, SHAPES, as_numpy)
    assert measured == other
    details = json.loads(json.dumps(measured.details))
    assert (details["data_set"]["first"], details["data_set"]["last"]) == (LARGEST - 6, LARGEST - 1)
    assert details["category_ids"] == {name: LARGEST - 11 * (1 + index) for index, name in enumerate(NAMES)}
    ruler = Ruler(dataset.annotations, SHAPES)
    assert ruler.numbers(as_numpy) == ruler.numbers(found)


def test_a_data_set_without_any_object_has_no_map(tmp_path):
    """Nothing was measured, which is no verdict and not a mAP of -1; the pictures are there all the same."""
    dataset = open_dataset(folder(tmp_path / "coco", lambda document: document["annotations"].clear()))
    found = {picture.id: detections([1, 1, 9, 9, 0.5, 0]) for picture in dataset.pictures}
    measured = evaluate(dataset, SHAPES, found)
    assert (measured.n, measured.where) == (0, "no class has an object")
    assert as_published(dataset, read_truth(dataset), SHAPES, found).n == 0


def test_the_verbs_say_it_on_stderr(tmp_path, capsys):
    """Once for each kind, and stdout stays what it was."""
    root = folder(tmp_path / "coco", lambda document: (zero(document), drop("area")(document)))
    assert main(["info", "--dataset", str(root), "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    notes = [line for line in said.err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 2, said.err
    assert f"note: {root / makers.ANNOTATIONS} has 24 boxes without an area" in notes[0]
    assert said.out == f"6 pictures in {tmp_path / 'out'}\n"


def test_a_whole_document_is_left_as_it_is(tmp_path):
    """What is completed is completed in memory."""
    root = folder(tmp_path / "coco", drop("area"))
    before = (root / makers.ANNOTATIONS).read_bytes()
    read_truth(open_dataset(root))
    assert (root / makers.ANNOTATIONS).read_bytes() == before
    assert copy.copy(open_dataset(root).remarks)


@pytest.mark.parametrize("searched", [True, False], ids=["with the collector", "without it"])
def test_reading_leaves_the_collector_as_it_was(tmp_path, searched):
    """The search for cycles is off while a file is read, whether it is one or not, and what the process chose comes back."""
    before = gc.isenabled()
    (gc.enable if searched else gc.disable)()
    try:
        (tmp_path / "no.json").write_text("[]")
        with pytest.raises(DatasetError):
            read_annotations(tmp_path / "no.json")
        assert gc.isenabled() is searched, "reading changed what the process chose"
    finally:
        (gc.enable if before else gc.disable)()
