"""Result files of anybody's detector: read in pieces, equal to pycocotools' reading, and refused with one sentence."""

import json
import zlib

import msgspec
import numpy as np
import pytest

from fcos_lib.errors import UsageError
from fcos_lib.measure.coco import result_file
from fcos_lib.measure.coco.matching import match_rows
from fcos_lib.measure.coco.metrics import TWELVE, twelve_numbers
from fcos_lib.measure.coco.result_file import read_detections
from fcos_lib.measure.coco.truth import read_annotation_file
from tests.unit.measure.result_files import by_pycocotools, draw

IMAGE = {"id": 7, "file_name": "7.jpg", "width": 640, "height": 480}
GOOD = '{"image_id":7,"category_id":1,"bbox":[1,2,3,4],"score":0.5}'
OTHER_CATEGORY = GOOD.replace('"category_id":1', '"category_id":2')


def short(value):
    """A name for a file that may be long or unprintable."""
    return f"{zlib.crc32(str(value).encode()):08x}"


@pytest.fixture
def truth(tmp_path):
    """A picture 7 and a category 1."""
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({"images": [IMAGE], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}))
    return read_annotation_file(path).truth


@pytest.fixture
def read(tmp_path, truth):
    """Read a result file of this text or these bytes."""

    def call(text):
        path = tmp_path / "results.json"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_detections(path, truth)

    return call


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", ["a", "b"])
def test_the_twelve_numbers_are_pycocotools(tmp_path, seed, name):
    """Of a file with unsorted pictures, ties, gaps in the ids, crowds, more than 100 detections and keys that do not count."""
    drawn = draw(tmp_path / "coco", seed)
    truth, path = read_annotation_file(drawn.instances).truth, getattr(drawn, name)
    ours = twelve_numbers(match_rows(truth, read_detections(path, truth)))
    theirs = dict(zip(TWELVE, by_pycocotools(drawn.instances, path).stats.tolist(), strict=True))
    assert 0.05 < theirs["mAP"] < 0.95, f"mAP {theirs['mAP']} is near 0 or 1, where much could hide"
    assert ours == pytest.approx(theirs, rel=0, abs=1e-12)


@pytest.mark.parametrize("piece", [64, 100, 257, 1000])
def test_pieces_of_any_length_give_the_same(tmp_path, monkeypatch, piece):
    """Wherever a piece ends: in a number, in a text that looks like the end of an entry, between two entries."""
    drawn = draw(tmp_path / "coco", 3)
    truth = read_annotation_file(drawn.instances).truth
    whole = read_detections(drawn.b, truth)
    monkeypatch.setattr(result_file, "PIECE", max(piece, 150))
    for at_once in (0, 70, 1000):
        monkeypatch.setattr(result_file, "PART", at_once)
        pieces = read_detections(drawn.b, truth)
        for part in ("boxes", "scores", "pictures", "categories"):
            np.testing.assert_array_equal(
                getattr(pieces, part), getattr(whole, part), err_msg=f"{part}, {at_once} at once"
            )


def test_whole_numbers_with_a_point_are_ids(read):
    """pandas and MATLAB write 7.0, which is the picture 7 for pycocotools too."""
    for number in ("7.0", "70e-1", "0.7e1"):
        for more in ("", ',"x":"\\u0031"'):  # the second one is looked at by itself
            rows = read(f"[{GOOD[:-1]}{more}}},{GOOD}]".replace(":7", f":{number}"))
            assert rows.pictures.tolist() == [0, 0], f"pictures of {number}{more}: {rows.pictures.tolist()}"
            assert rows.scores.tolist() == [0.5, 0.5], f"scores beside {number}{more}: {rows.scores.tolist()}"


@pytest.mark.parametrize("at_once", [0, 1 << 18])
def test_the_entry_at_fault_is_named_wherever_parts_of_a_piece_end(read, monkeypatch, at_once):
    """Entries before the part that it stands in count too."""
    monkeypatch.setattr(result_file, "PART", at_once)
    for bad, words in (
        (GOOD.replace("0.5", "null"), "is no detection"),
        (GOOD.replace(":7", ":8"), "is of the picture 8"),
    ):
        for before in (0, 1, 5):
            with pytest.raises(UsageError, match=rf"detections\[{before}\] {words}"):
                read(f"[{','.join([*before * [GOOD], bad, *3 * [GOOD]])}]")


def test_an_empty_list_and_blanks_are_read(read):
    """A detector that found nothing at all is a detector."""
    assert len(read(" [ \n ] \n")) == 0
    for more in ("", ',"x":"\\u0031"'):  # the second one is looked at by itself
        entry = f"{GOOD[:-1]}{more}}}"
        rows = read(f"\n[ {entry}\t,\r\n {entry} ]\n")
        assert (len(rows), rows.boxes[1].tolist(), rows.scores[1]) == (2, [1, 2, 3, 4], 0.5)


def test_an_entry_is_laid_out_as_messagepack_has_it():
    """A field that is read a byte further on would be another number."""
    packed = msgspec.msgpack.encode(result_file._Entry(7.0, 3.0, (1.5, 2.5, -3.5, 4.5), 0.25))
    (entry,) = np.frombuffer(packed, result_file._layout())
    assert [float(entry[name]) for name in ("image_id", "category_id", "score")] == [7.0, 3.0, 0.25]
    assert [float(entry["bbox"][side]) for side in "xywh"] == [1.5, 2.5, -3.5, 4.5]


def test_blanks_hide_nothing_behind_them(read, monkeypatch):
    """However many there are before the first entry; behind one they make it too long."""
    monkeypatch.setattr(result_file, "PIECE", 100)
    assert len(read(f"{' ' * 90}[{' ' * 1000}{GOOD},{GOOD}]{' ' * 90}")) == 2
    assert len(read(f"[{' ' * 1000}]")) == 0
    for text in (
        f"[{' ' * 1000}x]",
        f"[{' ' * 1000}{GOOD}{' ' * 1000},{GOOD}]",
        f"[{GOOD}]{' ' * 1000}x",
        f"[{' ' * 1000}",
    ):
        with pytest.raises(UsageError, match=r"is no JSON object, is cut off or is longer|the list does not end"):
            read(text)


def test_entries_inside_of_an_entry_are_not_taken_for_detections(read, monkeypatch):
    """A list of objects in an entry has `},{` in it, as the list of entries has, wherever a piece ends."""
    inner = GOOD[:-1] + ',"parts":[{"a":1},{"b":2},{"c":"},{"}]}'
    entries = [each.replace("0.5", str(number)) for number, each in enumerate([inner, GOOD, inner, inner])]
    for piece in range(100, 420, 9):
        monkeypatch.setattr(result_file, "PIECE", piece)
        scores = read(f"[{', '.join(entries)}]").scores.tolist()
        assert scores == [0, 1, 2, 3], f"in pieces of {piece}: {scores}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no JSON list"),
        ('{"annotations": []}', "holds no JSON list"),
        (b"\xef\xbb\xbf[]", "holds no JSON list"),
        ("[", "is cut off: the list does not end"),
        (f"[{GOOD},{GOOD[:30]}", "is cut off: the list does not end"),
        (f"[{GOOD},]", "detections[1] is no JSON object"),
        (f"[{GOOD},,{GOOD}]", "detections[1] is no JSON object"),
        (f"[{GOOD} {GOOD}]", "detections[1] is no JSON object"),
        (f"[{GOOD}] []", "detections[1] is no JSON object"),
        (f"[{GOOD},7]", "detections[1] is no detection: Expected `object`, got `int`"),
        (f"[{GOOD},[1,2]]", "detections[1] is no detection: Expected `object`, got `array`"),
        (f"[{GOOD},{{}}]", "detections[1] is no detection: Object missing required field `image_id`"),
        (GOOD.join("[]").replace("0.5", "NaN"), "detections[0] is no detection: it has the number NaN"),
        (GOOD.join("[]").replace("0.5", "-Infinity"), "detections[0] is no detection: it has the number -Infinity"),
        (GOOD.join("[]").replace("0.5", "1e999"), "detections[0] is no detection: score: Expected `float` <= 1e+300"),
        (GOOD.join("[]").replace("0.5", '"0.5"'), "detections[0] is no detection: score: Expected `float`, got `str`"),
        (GOOD.join("[]").replace("0.5", "true"), "detections[0] is no detection: score: Expected `float`, got `bool`"),
        (GOOD.join("[]").replace("0.5", "null"), "detections[0] is no detection: score: Expected `float`, got `null`"),
        (GOOD.join("[]").replace("[1,2,3,4]", "[1,2,3]"), "detections[0] is no detection: bbox: Expected `array` of length 4, got 3"),
        (GOOD.join("[]").replace("[1,2,3,4]", "[1,2,3,4,5]"), "detections[0] is no detection: bbox: Expected `array` of length 4, got 5"),
        (GOOD.join("[]").replace("[1,2,", '[1,"2",'), "detections[0] is no detection: bbox[1]: Expected `float`, got `str`"),
        (GOOD.join("[]").replace("[1,2,", "[1,1e12,"), "detections[0] is no detection: bbox[1]: Expected `float` <= 1000000000.0"),
        (GOOD.join("[]").replace(":7", ':"7"'), "detections[0] is no detection: image_id: Expected `int`, got `str`"),
        (GOOD.join("[]").replace(":7", ":7.5"), "detections[0] is of the picture 7.5, which the annotation file does not list"),
        (GOOD.join("[]").replace(":7", f":{2**53}"), "detections[0] is no detection: image_id: Expected `int` <= 9007199254740991"),
        (GOOD.join("[]").replace(":7", ":true"), "detections[0] is no detection: image_id: Expected `int`, got `bool`"),
        (GOOD.join("[]").replace(":7", ":-7"), "detections[0] is no detection: image_id: Expected `int` >= 0"),
        (GOOD.join("[]").replace(":7", f":{2**64 + 7}"), "detections[0] is no detection: image_id: "),
        (GOOD.join("[]").replace(":7", ":" + "7" * 5000), "detections[0] is no detection: a number of 5000 digits"),
        (f"[{GOOD},{GOOD.replace(':7', ':8')}]", "detections[1] is of the picture 8, which the annotation file does not list"),
        (f"[{GOOD},{OTHER_CATEGORY}]", "detections[1] is of the category 2, which the annotation file does not list"),
        (f"[{GOOD},{GOOD[:-1]},{GOOD[1:]}]", "detections[1] is no detection: it has the key 'image_id' 2 times"),
        (f'[{GOOD},{GOOD[:-1]},"score":0.9}}]', "detections[1] is no detection: it has the key 'score' 2 times"),
        (f'[{GOOD},{GOOD[:-1]},"sc\\u006fre":0.9}}]', "detections[1] is no detection: it has the key 'score' 2 times"),
        (f'[{GOOD},{GOOD[:-1]},"x":{"[" * 100_000}', "is cut off"),
        (f'[{GOOD},{GOOD[:-1]},"x":{"[" * 100_000}]', "detections[1] is nested too deeply"),
        (f'[{GOOD[:-1]},"score":1,"x":"\xff"}}]'.encode("latin-1"), "is not UTF-8"),
        (b"[" + bytes(1000) + b"]", "detections[0] is no JSON object"),
    ],
    ids=short,
)  # fmt: skip
def test_what_is_no_result_file_is_refused_by_name_and_entry(read, tmp_path, text, words):
    """One sentence with the file, the entry and its fault; never a traceback."""
    with pytest.raises(UsageError) as refused:
        read(text)
    colon = ":" if words.startswith("detections[") else ""
    assert refused.value.found.startswith(f"{tmp_path / 'results.json'}{colon} {words}")
    assert "\n" not in refused.value.found


def test_the_entry_is_named_behind_many_pieces(read, monkeypatch):
    """Its number counts from the beginning of the file."""
    monkeypatch.setattr(result_file, "PIECE", 200)
    bad = GOOD.replace("0.5", '"high"')
    with pytest.raises(UsageError, match=r"detections\[40\] is no detection: score: Expected `float`, got `str`"):
        read(f"[{','.join([GOOD] * 40 + [bad] + [GOOD] * 40)}]")


def test_an_entry_without_an_end_is_refused_before_memory_is(read, monkeypatch):
    """Two pieces are read of it, not the file."""
    monkeypatch.setattr(result_file, "PIECE", 1 << 20)
    with pytest.raises(UsageError, match=r"detections\[1\] is no JSON object, is cut off or is longer than 2 MiB\n"):
        read(f'[{GOOD},{GOOD[:-1]},"x":"{"x" * (5 << 20)}"}}]')


def test_entries_of_any_length_up_to_two_pieces_are_read_in_their_order(read, monkeypatch):
    """Where the last one that is whole ends is looked for backwards, further and further."""
    monkeypatch.setattr(result_file, "PIECE", 20_000)
    lengths = [0, 3000, 9000, 19_000, 10, 39_000, 0, 0, 4096, 12_000, 25_000, 1]
    entries = [
        f'{GOOD[:-1]},"x":"{"y" * length}"}}'.replace("0.5", str(number)) for number, length in enumerate(lengths)
    ]
    assert read(f"[{','.join(entries)}]").scores.tolist() == list(range(len(lengths)))


def test_a_file_that_is_not_there_is_refused_in_words(truth, tmp_path):
    """With the system's own reason."""
    with pytest.raises(UsageError, match=r"none\.json cannot be read \(No such file or directory\)"):
        read_detections(tmp_path / "none.json", truth)


@pytest.mark.parametrize(("name", "most", "words"), [
    ("MOST_BYTES", 3 * len(GOOD) + 4, "has more than 0 GiB"), ("MOST_DETECTIONS", 3, "holds more than 3 detections"),
])  # fmt: skip
def test_bounds_are_held(read, monkeypatch, name, most, words):
    """Of bytes before anything is read, of detections while it is. What is just as large is read."""
    monkeypatch.setattr(result_file, name, most)
    assert len(read(f"[{GOOD},{GOOD},{GOOD}]")) == 3
    with pytest.raises(UsageError, match=f"json {words}\n"):
        read(f"[{GOOD},{GOOD},{GOOD},{GOOD}]")


def test_annotations_alone_are_those_of_the_folder(dataset, truth_of_dataset):
    """The embedded set has the same truth without its pictures. What is no annotation file: tests/unit/stream/test_annotations.py."""
    alone = read_annotation_file(dataset.annotations).truth
    for part in ("picture_ids", "boxes", "areas", "crowd", "numbered", "pictures", "categories"):
        np.testing.assert_array_equal(getattr(alone, part), getattr(truth_of_dataset, part), err_msg=part)
    assert alone.category_ids == truth_of_dataset.category_ids
    assert alone.annotations_sha256 == truth_of_dataset.annotations_sha256


@pytest.fixture
def truth_of_dataset(dataset):
    """The embedded set's objects."""
    from fcos_lib.measure.coco.truth import read_truth

    return read_truth(dataset)
