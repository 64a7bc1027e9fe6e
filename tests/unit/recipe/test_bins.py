"""Raw network inputs have the recipe's bytes, and every picture is written or named."""

import contextlib
import os
import re
import signal
from dataclasses import replace

import cv2
import numpy as np
import pytest

from fcos_lib.contract import COCO_R50, ModelContract
from fcos_lib.errors import DatasetError, UsageError
from fcos_lib.recipe import bins
from fcos_lib.recipe.bins import MADE_FROM, bin_bytes, list_bins, load_bin, pictures_by_stem, write_bins
from fcos_lib.stream.dataset import Dataset, Picture

TINY = ModelContract("tiny", ("disc",), height=32, width=48, base_channels=1, feature_channels=1)
SIZES = {"000000000139.jpg": (64, 48), "000000000285.jpg": (33, 57), "b.v2.jpg": (48, 32), "10.jpg": (7, 90)}


@pytest.fixture
def dataset(tmp_path):
    """Four pictures of noise with their annotated sizes."""
    folder = tmp_path / "val2017"
    folder.mkdir()
    random = np.random.default_rng(0)
    pictures = []
    for number, (name, (width, height)) in enumerate(SIZES.items()):
        cv2.imwrite(str(folder / name), random.integers(0, 256, (height, width, 3), np.uint8))
        pictures.append(Picture(number, folder / name, width, height))
    return Dataset(tmp_path, tmp_path / "instances.json", "", tuple(pictures), {"disc": 1})


def recipe(path, contract):
    """`fcos_pth_preprocess.py` with the OpenCV calls that its mmcv functions make; the bytes of its `tofile`."""
    image = cv2.imread(str(path))
    scale = min(contract.width / image.shape[1], contract.height / image.shape[0])
    size = (int(np.floor(image.shape[1] * scale)), int(np.floor(image.shape[0] * scale)))
    image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR).copy().astype(np.float32)
    cv2.subtract(image, np.float64(np.array([[102.9801, 115.9465, 122.7717]], np.float32)), image)
    cv2.multiply(image, 1 / np.ones((1, 3)), image)
    left, top = (contract.width - image.shape[1]) // 2, (contract.height - image.shape[0]) // 2
    right, bottom = contract.width - left - image.shape[1], contract.height - top - image.shape[0]
    image = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    return image.transpose(2, 0, 1).tobytes()


def test_files_are_bit_identical_to_the_recipes(dataset, tmp_path):
    """Same names, same bytes, nothing else in the folder but a hidden note of what they were made from."""
    done = write_bins(dataset, TINY, tmp_path / "bins")
    assert (done.written, done.kept, done.bytes_each) == (4, 0, 3 * 32 * 48 * 4)
    assert sorted(os.listdir(tmp_path / "bins")) == [
        MADE_FROM,
        *(f"{name}.bin" for name in ("000000000139", "000000000285", "10", "b")),
    ]
    for picture in dataset.pictures:
        written = (tmp_path / "bins" / f"{picture.path.name.split('.')[0]}.bin").read_bytes()
        assert written == recipe(picture.path, TINY), f"{picture.path.name} differs from the recipe"


def test_a_coco_file_has_12_796_800_bytes(dataset, tmp_path):
    """The size that the recipe's OM takes, and the recipe's content at full size."""
    path = tmp_path / "one.bin"
    assert bins.write_bin(dataset.pictures[0], path, COCO_R50) == ""
    assert path.stat().st_size == bin_bytes(COCO_R50) == 12_796_800
    assert path.read_bytes() == recipe(dataset.pictures[0].path, COCO_R50)


def test_processes_write_the_same(dataset, tmp_path):
    """`--jobs 2` starts processes, and changes nothing else."""
    write_bins(dataset, TINY, tmp_path / "one")
    write_bins(dataset, TINY, tmp_path / "two", jobs=2)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_second_run_keeps_what_is_complete(dataset, tmp_path):
    """Short files and files older than their picture are written again, the others are not touched."""
    folder = tmp_path / "bins"
    write_bins(dataset, TINY, folder)
    whole = (folder / "b.bin").read_bytes()
    (folder / "b.bin").write_bytes(whole[:-1])
    os.utime(folder / "10.bin", (1, 1))
    before = (folder / "000000000139.bin").stat().st_mtime_ns
    done = write_bins(dataset, TINY, folder)
    assert (done.written, done.kept) == (2, 2)
    assert (folder / "b.bin").read_bytes() == whole
    assert (folder / "000000000139.bin").stat().st_mtime_ns == before
    assert write_bins(dataset, TINY, folder, fresh=True).written == 4


@pytest.mark.parametrize("change", [{"mean_bgr": (1.0, 2.0, 3.0)}, {"channel_order": "rgb"}])
def test_inputs_of_another_contract_are_written_again(dataset, tmp_path, change):
    """They have the same names and sizes, and nothing behind them would know."""
    folder, other = tmp_path / "bins", replace(TINY, **change)
    write_bins(dataset, TINY, folder)
    assert write_bins(dataset, other, folder).written == 4
    write_bins(dataset, other, tmp_path / "alone")
    for path in (tmp_path / "alone").iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()
    assert write_bins(dataset, other, folder).kept == 4


def test_an_interrupted_change_of_contract_leaves_no_input_of_the_other(dataset, tmp_path, monkeypatch):
    """What is there belongs to the note beside it at any time."""
    write_bins(dataset, TINY, tmp_path / "bins")
    monkeypatch.setattr(bins, "_write_all", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_bins(dataset, replace(TINY, channel_order="rgb"), tmp_path / "bins")
    assert not list((tmp_path / "bins").glob("*.bin"))


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_second_interrupt_does_not_reach_the_end_of_the_pool(dataset, tmp_path, monkeypatch, interrupted):
    """The pool and its processes would wait for each other for ever; `timeout` sends one to the process and one to its group."""
    at_end = []

    class Pool(bins.ProcessPoolExecutor):
        def __exit__(self, *error):
            at_end.append(signal.getsignal(signal.SIGINT))
            return super().__exit__(*error)

    class Bar:
        def update(self):
            if interrupted:
                raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(bins, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(bins, "picture_bar", lambda *_: contextlib.nullcontext(Bar()))
    with pytest.raises(KeyboardInterrupt) if interrupted else contextlib.nullcontext():
        write_bins(dataset, TINY, tmp_path / "bins", jobs=2)
    assert at_end == [signal.SIG_IGN]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_picture_replaced_by_an_older_one_is_written_again(dataset, tmp_path):
    """`cp -p` and rsync keep the time of the copy."""
    write_bins(dataset, TINY, tmp_path / "bins")
    picture = dataset.pictures[0].path
    cv2.imwrite(str(picture), np.zeros((48, 64, 3), np.uint8))
    os.utime(picture, (1, 1))
    assert write_bins(dataset, TINY, tmp_path / "bins").written == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_broken_picture_is_named(dataset, tmp_path, jobs):
    """The recipe's pool loses its workers' errors; here the good pictures are written and each bad one is named."""
    first, second = dataset.pictures[0].path, dataset.pictures[3].path
    first.write_bytes(first.read_bytes()[:-2])
    second.write_bytes(b"")
    with pytest.raises(DatasetError, match="2 of 4 pictures cannot be preprocessed") as caught:
        write_bins(dataset, TINY, tmp_path / "bins", jobs=jobs)
    assert re.search(r"139\.jpg is truncated", caught.value.found)
    assert re.search(r"/10\.jpg is empty", caught.value.found)
    assert sorted(os.listdir(tmp_path / "bins")) == [MADE_FROM, "000000000285.bin", "b.bin"], "no partial file may stay"


@pytest.mark.parametrize(
    ("names", "words"), [(["a.1.jpg", "a.2.jpg"], "would become the same file 'a.bin'"), ([".jpg"], "before its first")]
)
def test_colliding_names_are_refused(dataset, names, words):
    """Two pictures of one stem would overwrite each other's file and results."""
    pictures = tuple(Picture(number, dataset.root / name, 4, 4) for number, name in enumerate(names))
    with pytest.raises(DatasetError, match=words):
        pictures_by_stem(Dataset(dataset.root, dataset.annotations, "", pictures, {}))


def test_inputs_of_another_dataset_are_refused(dataset, tmp_path):
    """ais_bench would feed them too."""
    (tmp_path / "bins").mkdir()
    (tmp_path / "bins" / "old.bin").write_bytes(b"")
    with pytest.raises(UsageError, match=r"1 input files that belong to no picture .*old\.bin"):
        write_bins(dataset, TINY, tmp_path / "bins")


def test_a_full_disk_is_said_before_the_work(dataset, tmp_path, monkeypatch):
    """COCO's inputs are 64 GB."""
    monkeypatch.setattr(bins.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 100}))
    with pytest.raises(UsageError, match=r"4 pictures need 73,728 bytes, and .* has 100 free"):
        write_bins(dataset, TINY, tmp_path / "bins")


def test_an_output_that_is_a_file_is_refused(dataset, tmp_path):
    """One sentence instead of a traceback."""
    (tmp_path / "bins").write_text("")
    with pytest.raises(UsageError, match="bins cannot be written"):
        write_bins(dataset, TINY, tmp_path / "bins")


def test_bins_are_listed_by_the_value_of_their_numbers(dataset, tmp_path):
    """ais_bench's natural order decides which pictures share a batch."""
    for name in ("img10.bin", "img9.bin", "img009b.bin", "A2.bin", "a10.bin"):
        (tmp_path / name).write_bytes(bytes(bin_bytes(TINY)))
    names = [path.name for path in list_bins(tmp_path, TINY)]
    assert names == ["A2.bin", "a10.bin", "img9.bin", "img009b.bin", "img10.bin"]


def test_wrong_inputs_are_refused(tmp_path):
    """A missing or empty folder, a wrong size, a link, one stem twice."""
    with pytest.raises(UsageError, match="there is no folder"):
        list_bins(tmp_path / "none", TINY)
    with pytest.raises(UsageError, match=r"holds no \.bin files"):
        list_bins(tmp_path, TINY)
    whole = bytes(bin_bytes(TINY))
    (tmp_path / "a.bin").write_bytes(whole[4:])
    with pytest.raises(UsageError, match="has 18,428 bytes, and one input of contract 'tiny' has 18,432"):
        list_bins(tmp_path, TINY)
    (tmp_path / "a.bin").write_bytes(whole)
    (tmp_path / "a.b.bin").write_bytes(whole)
    with pytest.raises(UsageError, match=r"a\.b\.bin and a\.bin would have the same results"):
        list_bins(tmp_path, TINY)
    (tmp_path / "a.b.bin").unlink()
    (tmp_path / "b.bin").symlink_to(tmp_path / "a.bin")
    with pytest.raises(UsageError, match=r"b\.bin is no regular file"):
        list_bins(tmp_path, TINY)


def test_a_file_that_changes_its_size_is_refused(tmp_path):
    """What was checked is checked again when it is read."""
    out = np.empty((3, 32, 48), np.float32)
    for change in (-4, 4):
        (tmp_path / "a.bin").write_bytes(bytes(bin_bytes(TINY) + change))
        with pytest.raises(UsageError, match="changed its size"):
            load_bin(tmp_path / "a.bin", out)
