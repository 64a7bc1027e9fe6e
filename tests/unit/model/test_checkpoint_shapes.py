"""The shapes of a checkpoint's weights are read without torch, and nothing in a stranger's file is run or grows."""

import io
import pickle
import struct
import zipfile
from pathlib import Path

import pytest

from fcos_lib.errors import CheckpointError
from fcos_lib.model.checkpoint import read_checkpoint
from fcos_lib.model.checkpoint_shapes import _Reader, shapes_of
from fixtures.settings import EMBEDDED_CHECKPOINT

torch = pytest.importorskip("torch", reason="needs the extra 'export'")

CORPUS = Path(__file__).parents[1] / "hostile" / "corpus" / "checkpoint"


def saved(folder, weights, new=True):
    """The weights as mmdet saves them."""
    path = folder / "model.pth"
    torch.save({"meta": {"epoch": 12}, "state_dict": weights}, path, _use_new_zipfile_serialization=new)
    return path


@pytest.mark.parametrize("new", [True, False], ids=["archive", "before 1.6"])
def test_shapes_are_read_without_torch(tmp_path, new):
    """The same as torch reads, in both formats of file, whatever else a checkpoint holds."""
    weights = read_checkpoint(EMBEDDED_CHECKPOINT)
    expected = {key: tuple(value.shape) for key, value in weights.items()}
    assert shapes_of(saved(tmp_path, weights, new=new)) == expected
    assert shapes_of(EMBEDDED_CHECKPOINT) == expected


def test_old_key_names_are_todays(tmp_path):
    """Checkpoints of 2019 call the head's outputs otherwise."""
    shapes = shapes_of(saved(tmp_path, {"bbox_head.fcos_cls.weight": torch.zeros(3, 4), "n": torch.zeros(())}))
    assert shapes == {"bbox_head.conv_cls.weight": (3, 4), "n": ()}


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"state_dict": {"a": 1}}, [1, 2], {"state_dict": [1]}])
def test_a_checkpoint_without_weights_is_refused(tmp_path, content):
    """As by torch's reader."""
    path = tmp_path / "x.pth"
    torch.save(content, path)
    with pytest.raises(CheckpointError):
        shapes_of(path)


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_files_of_strangers_end_in_shapes_or_an_error(path):
    """Those that torch's reader is held to."""
    try:
        shapes = shapes_of(path)
    except CheckpointError:
        return
    assert all(isinstance(key, str) and all(type(size) is int for size in sizes) for key, sizes in shapes.items())


def archive(folder, data):
    """A file of torch's newer format with this pickle."""
    path = folder / "x.pth"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", data)
    return path


@pytest.mark.parametrize(
    "pickled",
    [
        b"cos\nsystem\n(S'touch {}'\ntR.",
        b'c__builtin__\neval\n(S\'open("{}", "w")\'\ntR.',
        b"cbuiltins\nset\n(S'{}'\ntR.",
    ],
)
def test_nothing_is_run(tmp_path, pickled):
    """Neither in a whole file, which is looked through first, nor by the reader itself."""
    target = tmp_path / "was_run"
    data = pickled.replace(b"{}", str(target).encode())
    with pytest.raises(CheckpointError):
        shapes_of(archive(tmp_path, data))
    _Reader(io.BytesIO(data)).load()
    assert not target.exists()


def test_a_dictionary_made_many_times_ends_in_an_error(tmp_path):
    """A list of 10,000 pairs, and OrderedDict called on it over and over: terabytes if all were kept."""
    pairs = pickle.dumps([[number, number] for number in range(10_000)], protocol=2)[:-1]
    call = b"(" + b"".join(b"ccollections\nOrderedDict\nh\x01\x85R" for _ in range(200)) + b"l."
    data = pairs[:2] + pairs[2:] + b"q" + struct.pack("B", 1) + call
    with pytest.raises(CheckpointError, match="dictionaries of more than 1,000,000 pairs"):
        shapes_of(archive(tmp_path, data))


@pytest.mark.parametrize(
    "content", [[1, 2], {"state_dict": [torch.zeros(2)]}, 5], ids=["list", "list inside", "number"]
)
def test_what_is_no_state_dict_is_said_to_be_none(tmp_path, content):
    """In our words, not in those of Python."""
    torch.save(content, tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds no state dict"):
        shapes_of(tmp_path / "list.pth")
