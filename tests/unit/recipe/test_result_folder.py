"""Result folders say themselves who wrote them, and what does not fit is refused with its reason."""

import io
import os

import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.errors import DatasetError, UsageError
from fcos_lib.recipe.result_folder import read_results
from fcos_lib.stream.dataset import Dataset, Picture
from fcos_lib.stream.letterbox import geometry

NAMES = ("000000000139", "000000100139", "7")
"""The first is the end of the second: the recipe's script, which looks for `*0139`, takes one for the other."""
BOX = (60.0, 50.0, 100.0, 120.0)


@pytest.fixture
def dataset(tmp_path):
    """Three annotated pictures; their files are never read here."""
    pictures = tuple(Picture(number + 1, tmp_path / f"{name}.jpg", 640, 480) for number, name in enumerate(NAMES))
    return Dataset(tmp_path, tmp_path / "instances.json", "", pictures, {})


def outputs(number, labels_dtype=np.int64):
    """Labels and dets of one picture: `number` detections that differ by picture, then padding with absurd labels."""
    labels, dets = np.full((1, 100), 77, labels_dtype), np.zeros((1, 100, 5), np.float32)
    labels[0, :number] = np.arange(number)
    dets[0, :number, :4] = BOX
    dets[0, :number, 4] = 0.9 - 0.1 * np.arange(number)
    return labels, dets


def encode(array, suffix):
    """The array as ais_bench saves it with `--outfmt` BIN, NPY or TXT."""
    if suffix == "bin":
        return array.tobytes()
    buffer = io.BytesIO()
    if suffix == "npy":
        np.save(buffer, array)
    else:
        np.savetxt(buffer, array.reshape(-1, array.shape[-1]), fmt="%f" if array.dtype.kind == "f" else "%d")
    return buffer.getvalue()


@pytest.fixture
def write(tmp_path):
    """Write a result folder; options say what is unusual about it. Returns the folder."""

    def write(*, first=0, suffix="bin", dets_first=False, labels_dtype=np.int64, places=("", "", ""), names=NAMES):
        folder = tmp_path / "result"
        for number, (name, subfolder) in enumerate(zip(names, places, strict=True), 1):
            arrays = outputs(number, labels_dtype)
            (folder / subfolder).mkdir(parents=True, exist_ok=True)
            for index, array in enumerate(arrays[::-1] if dets_first else arrays, first):
                (folder / subfolder / f"{name}_{index}.{suffix}").write_bytes(encode(array, suffix))
        return folder

    return write


def read(folder, dataset):
    """What `read_results` makes of the folder for the embedded default's contract."""
    return read_results(folder, dataset, SHAPES)


KINDS = {
    "ais_bench": ({}, "3 pictures, ais_bench naming (_0, _1), labels first, labels int64, .bin"),
    "dets-first": ({"dets_first": True}, "3 pictures, ais_bench naming (_0, _1), dets first, labels int64, .bin"),
    "int32": ({"labels_dtype": np.int32}, "3 pictures, ais_bench naming (_0, _1), labels first, labels int32, .bin"),
    "npy": ({"suffix": "npy"}, "3 pictures, ais_bench naming (_0, _1), labels first, labels int64, .npy"),
    "npy-int32": (
        {"suffix": "npy", "labels_dtype": np.int32, "dets_first": True},
        "3 pictures, ais_bench naming (_0, _1), dets first, labels int32, .npy",
    ),
    "txt": ({"suffix": "txt"}, "3 pictures, ais_bench naming (_0, _1), labels first, labels int64, .txt"),
    "benchmark": (
        {"first": 1},
        "3 pictures, the retired benchmark tool's naming (_1, _2), labels first, labels int64, .bin",
    ),
    "devices": (
        {"places": ("device0", "device1", "device0")},
        "3 pictures, ais_bench naming (_0, _1), labels first, labels int64, .bin, from device0, device1",
    ),
    "devices-new": (
        {"places": ("device0_0", "device0_1", "device0_1")},
        "3 pictures, ais_bench naming (_0, _1), labels first, labels int64, .bin, from device0_0, device0_1",
    ),
    "dump": (
        {"first": 1, "places": ("dumpOutput_device0",) * 3, "dets_first": True},
        "3 pictures, the retired benchmark tool's naming (_1, _2), dets first, labels int64, .bin, "
        "from dumpOutput_device0",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_known_kind_is_read_and_named(write, dataset, kind):
    """Tool, order, dtype, format and devices come from the files; pictures are told by their whole name."""
    options, sentence = KINDS[kind]
    results = read(write(**options), dataset)
    assert results.sentence() == sentence
    subfolder = geometry(640, 480, SHAPES)
    expected = [(BOX[0] - subfolder.left) / subfolder.scale_x, (BOX[1] - subfolder.top) / subfolder.scale_y]
    for number in (1, 2, 3):
        detections = results.detections[number]
        assert detections.labels.tolist() == list(range(number)), "rows of another picture, or padding"
        assert detections.labels.dtype == np.int64
        np.testing.assert_allclose(detections.scores, 0.9 - 0.1 * np.arange(number), atol=1e-6)
        np.testing.assert_allclose(detections.boxes[0, :2], expected, atol=1e-3)


def test_what_lies_beside_results_is_ignored(write, dataset):
    """A multi-device summary, the old tool's report, a note."""
    folder = write(places=("device0",) * 3)
    for name in ("device0_summary.json", "perf_vision_batchsize_1_device_0.txt", "notes.txt"):
        (folder / name).write_text("{}")
    assert len(read(folder, dataset).detections) == 3


def truncate(folder):
    """Cut one file short."""
    path = folder / "7_1.bin"
    path.write_bytes(path.read_bytes()[:-4])


def replace(name, array):
    """Put an array into one file."""
    return lambda folder: (folder / name).write_bytes(np.ascontiguousarray(array).tobytes())


def second_run(suffix="bin", subfolder="", names=NAMES, first=0):
    """Write files of another run into the folder."""

    def change(folder):
        (folder / subfolder).mkdir(exist_ok=True)
        for name in names:
            for index, array in enumerate(outputs(1), first):
                (folder / subfolder / f"{name}_{index}.{suffix}").write_bytes(encode(array, suffix))

    return change


def link(folder):
    """Replace a file by a link to one outside of the folder."""
    os.replace(folder / "7_0.bin", folder.parent / "elsewhere")
    (folder / "7_0.bin").symlink_to(folder.parent / "elsewhere")


def swap(folder):
    """Exchange labels and dets of one picture."""
    os.replace(folder / "7_0.bin", folder / "x")
    os.replace(folder / "7_1.bin", folder / "7_0.bin")
    os.replace(folder / "x", folder / "7_1.bin")


def renumber(folder):
    """Number the files of one picture from 1."""
    os.replace(folder / "7_1.bin", folder / "7_2.bin")
    os.replace(folder / "7_0.bin", folder / "7_1.bin")


DETS = outputs(2)[1]
NAN, HIGH = DETS.copy(), DETS.copy()
NAN[0, 1, 2], HIGH[0, 0, 4] = np.nan, 3.5

REFUSED = {
    "truncated": (truncate, r"7_1\.bin has 1,996 bytes; labels have 800 \(int64\) or 400 \(int32\) and dets 2000"),
    "empty": (replace("7_0.bin", np.empty(0)), r"7_0\.bin has 0 bytes"),
    "several-pictures": (replace("7_1.bin", np.zeros((4, 100, 5), np.float32)), "has 8,000 bytes"),
    "one-file": (
        lambda folder: (folder / "7_1.bin").unlink(),
        r"_0 and _1 for 2 pictures \(such as 000000000139\); _0 for 1 picture \(such as 7\)",
    ),
    "two-tools": (second_run(names=("7",), first=1), r"_0 and _1 and _2 for 1 picture \(such as 7\)"),
    "two-namings": (
        renumber,
        r"_0 and _1 for 2 pictures .*; _1 and _2 for 1 picture",
    ),
    "two-formats": (second_run("npy", names=("7",)), r"7_0\.bin and 7_0\.npy are results of the same picture"),
    "two-levels": (second_run(subfolder="device0", names=("8",)), "results of its own and in device0"),
    "two-orders": (swap, r"mixes the results of two models: labels first .*139_0\.bin\) and dets first .*7_0\.bin"),
    "two-labels": (replace("7_1.bin", np.zeros(100, np.int64)), "both have the size of labels"),
    "two-dtypes": (replace("7_0.bin", np.zeros(100, np.int32)), "labels first with int32 labels"),
    "nan": (replace("7_1.bin", NAN), r"7_1\.bin has 1 NaN or infinite values, the first in row 1"),
    "score": (replace("7_1.bin", HIGH), r"7_1\.bin has a score of 3\.5, so it is not dets"),
    "label": (replace("7_0.bin", np.full(100, 8, np.int64)), "have 8, and contract 'shapes' has 8 classes"),
    "link": (link, "7_0.bin is a link"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(write, dataset, case):
    """Mixtures, damage and values that no output has, each with the file and the reason."""
    change, words = REFUSED[case]
    folder = write()
    change(folder)
    with pytest.raises(UsageError, match=words):
        read(folder, dataset)


def test_devices_that_ran_the_same_pictures_are_refused(write, dataset):
    """Without --divide_input every device runs everything."""
    folder = write(places=("device0",) * 3)
    second_run(subfolder="device1")(folder)
    with pytest.raises(UsageError, match=f"picture {NAMES[0]} has results in device0 and in device1") as caught:
        read(folder, dataset)
    assert "the folder of one of them" in caught.value.advice


def test_missing_and_unknown_pictures_are_counted(write, dataset):
    """The whole name decides: 139 is not 000000000139."""
    folder = write(names=("139", "000000100139", "x"))
    with pytest.raises(DatasetError, match=r"2 of 3 pictures have no result \(000000000139, 7\)") as caught:
        read(folder, dataset)
    assert "2 results belong to no picture of the dataset (139, x)" in caught.value.found


def test_a_pure_inference_run_is_recognised(write, dataset, tmp_path):
    """Its only result belongs to no picture."""
    folder = tmp_path / "pure"
    folder.mkdir()
    for index, array in enumerate(outputs(1)):
        (folder / f"pure_infer_data_{index}.bin").write_bytes(array.tobytes())
    with pytest.raises(DatasetError) as caught:
        read(folder, dataset)
    assert "has seen no picture" in caught.value.advice


def test_a_folder_without_results_says_what_it_holds(dataset, tmp_path):
    """The inputs' folder, the folder above, and none at all."""
    (tmp_path / "bins").mkdir()
    (tmp_path / "bins" / "7.bin").write_bytes(b"")
    with pytest.raises(UsageError, match=r"it holds 7\.bin"):
        read(tmp_path / "bins", dataset)
    with pytest.raises(UsageError, match="it holds bins"):
        read(tmp_path, dataset)
    with pytest.raises(UsageError, match="there is no folder"):
        read(tmp_path / "none", dataset)


def npy(array):
    """An array as .npy bytes, objects included."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


STRANGE = {
    "no-npy": ("7_0.npy", b"no npy", "is no .npy file"),
    "objects": ("7_0.npy", npy(np.array([{}] * 100)), r"holds object\[100\]"),
    "float-labels": ("7_0.npy", npy(np.zeros((1, 100), np.float64)), r"holds float64\[1, 100\]"),
    "half-dets": ("7_1.npy", npy(np.zeros((1, 100, 5), np.float16)), r"holds float16\[1, 100, 5\]"),
    "short": ("7_1.npy", npy(DETS)[:-1], r"holds float32\[1, 100, 5\] in 1999 bytes"),
    "header-lies": ("7_1.npy", npy(DETS).replace(b"100, 5", b"9" * 6), "holds float32"),
    "large-npy": ("7_1.npy", npy(np.zeros((1000, 1000), np.uint8)), "holds uint8"),
    "few": ("7_0.txt", b"1 2 3\n", "has 3 numbers; labels have 100 whole ones and dets 500"),
    "fractions": ("7_0.txt", b"0.5 " * 100, "has 100 numbers"),
    "nan-labels": ("7_0.txt", b"nan " * 100, "has 100 numbers"),
    "words": ("7_1.txt", b"x " * 500, "something else than numbers"),
    "overflow": ("7_1.txt", b"1e99 " * 500, "500 NaN or infinite values"),
    "large-text": ("7_1.txt", b" " * 20000, "has more than 16,000 bytes"),
}


@pytest.mark.parametrize(("name", "content", "words"), STRANGE.values(), ids=STRANGE)
def test_a_strange_npy_or_text_is_refused(write, dataset, name, content, words):
    """No object is unpickled, no header is believed; labels are whole numbers, and 500 of dets are finite."""
    folder = write(suffix=name.rpartition(".")[2])
    (folder / name).write_bytes(content)
    with pytest.raises(UsageError, match=words):
        read(folder, dataset)
