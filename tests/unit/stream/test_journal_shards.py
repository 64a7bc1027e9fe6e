"""A dataset is cut into whole batches; a shard's file comes back bit for bit, and what is no shard is told from one."""

import io
import zipfile

import numpy as np
import pytest

from fcos_lib.stream.array_file import pack_arrays
from fcos_lib.stream.dataset import Picture, not_exactly_once
from fcos_lib.stream.journal_shards import Maker, answer_digest, cut, largest_shard, pack_shard, unpack_shard
from fcos_lib.stream.sessions import Detections


def detections(rows, seed=0):
    """Random boxes and scores."""
    chance = np.random.default_rng(seed)
    return Detections(
        chance.uniform(0, 600, (rows, 4)).astype(np.float32),
        chance.uniform(0, 1, rows).astype(np.float32),
        chance.integers(0, 80, rows),
    )


def as_bytes(results):
    """For comparison bit by bit."""
    return {
        key: [(array.dtype, array.shape, array.tobytes()) for array in (seen.boxes, seen.scores, seen.labels)]
        for key, seen in results.items()
    }


MAKER = Maker("a host", 3, "5/1")
MAKER_JSON = b'{"host": "a host", "logical": 3, "physical": "5/1"}'
RESULTS = {7: detections(3, 1), 5: detections(0), 6: detections(100, 2)}
"""In the dataset's order, which is not that of the ids."""


def arrays(**changes):
    """The arrays of a shard with two pictures, with changes."""
    content = {
        "journal": np.frombuffer(b"t", np.uint8), "maker": np.frombuffer(MAKER_JSON, np.uint8), "ids": np.array([1, 2]), "counts": np.array([1, 0]),
        "boxes": np.ones((1, 4), np.float32), "scores": np.ones(1, np.float32), "labels": np.zeros(1, np.int64),
    }  # fmt: skip
    content |= changes
    return {name: array for name, array in content.items() if array is not None}


@pytest.mark.parametrize("results", [RESULTS, {1: detections(0)}, {1: detections(2000)}], ids=["some", "none", "many"])
def test_numbers_come_back_bit_for_bit(results):
    """Bytes and types are those that were written, in files that are not too large to be read."""
    data = pack_shard("t", results, MAKER)
    assert len(data) <= largest_shard(len(results)), (
        f"{len(data)} bytes, and a reader takes {largest_shard(len(results))}"
    )
    assert list(unpack_shard(data, "t", list(results))[0]) == list(results)
    assert as_bytes(unpack_shard(data, "t", list(results))[0]) == as_bytes(results)


def test_unusual_floats_come_back_too():
    """The smallest number, a negative zero and the largest number."""
    odd = np.array([[1e-45, -0.0, 3.4028235e38, 0.1]], np.float32)
    results = {1: Detections(odd, odd[0, 3:], np.array([-(2**63)]))}
    assert as_bytes(unpack_shard(pack_shard("t", results, MAKER), "t", [1])[0]) == as_bytes(results)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (Detections(np.zeros((1, 4)), np.zeros(1, np.float32), np.zeros(1, np.int64)), "'boxes' is float64"),
        (Detections(np.zeros((1, 4), np.float32), np.zeros(1, np.float32), np.zeros(1, np.int32)), "'labels' is int32"),
        (Detections(np.zeros((2, 4), np.float32), np.zeros(1, np.float32), np.zeros(1, np.int64)), "'scores' is"),
        (Detections(np.full((1, 4), np.nan, np.float32), np.zeros(1, np.float32), np.zeros(1, np.int64)), "finite"),
        (detections(5000), "'boxes' is"),
    ],
    ids=["float64", "int32", "lengths", "nan", "size"],
)
def test_nothing_is_written_that_could_not_be_read(seen, reason):
    """What would be changed or refused on the way back is refused on the way in."""
    with pytest.raises(ValueError, match=reason):
        pack_shard("t", {1: seen}, MAKER)


def test_a_file_cut_off_at_any_byte_is_damaged():
    """Each byte at which it can end."""
    data = pack_shard("t", {1: detections(2)}, MAKER)
    for end in range(len(data)):
        with pytest.raises(ValueError, match=r".+"):
            unpack_shard(data[:end], "t", [1])


def test_any_damaged_byte_is_noticed_or_changes_nothing():
    """Each bit of each byte in turn: zip's own fields that nobody reads may differ, results may not."""
    results, noticed = {1: detections(2)}, 0
    data, expected = pack_shard("t", results, MAKER), as_bytes(results)
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        try:
            assert as_bytes(unpack_shard(bytes(damaged), "t", [1])[0]) == expected, f"byte {place}"
        except ValueError:
            noticed += 1
    assert noticed > len(data) / 2, f"{noticed} of {len(data)} damaged bytes were noticed"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"nonsense", b"[" * 100_000, bytes(1000),
        pack_arrays(arrays(ids=None)), pack_arrays(arrays(labels=np.array([1.0]))),
        pack_arrays(arrays(labels=np.array([None]))), pack_arrays(arrays(counts=np.array([2, -1]))),
        pack_arrays(arrays(counts=np.array([1, 1]))), pack_arrays(arrays(counts=np.array([1 << 62, 1 << 62]))),
        pack_arrays(arrays(counts=np.array([1]))), pack_arrays(arrays(boxes=np.ones((1, 5), np.float32))),
        pack_arrays(arrays(boxes=np.ones(4, np.float32))), pack_arrays(arrays(scores=np.full(1, np.inf, np.float32))),
        pack_arrays(arrays(maker=np.zeros(0, np.uint8))), pack_arrays(arrays(maker=np.frombuffer(b'{"host": "x"}', np.uint8))),
        pack_arrays(arrays(maker=np.frombuffer(b'{"host": 1, "logical": 0, "physical": "0"}', np.uint8))),
        pack_arrays(arrays(journal=np.zeros(500, np.uint8))), pack_arrays(arrays(ids=np.array(1))),
    ],
    ids=["empty", "text", "deep", "zeros", "no ids", "float labels", "objects", "negative", "too many counted", "overflow",
         "one count", "five numbers", "flat", "infinite", "no maker", "half a maker", "maker of other types", "long token", "one id"],
)  # fmt: skip
def test_foreign_content_is_damage_whatever_it_is(data):
    """A right checksum is no reason to believe the rest."""
    with pytest.raises(ValueError, match=r".+"):
        unpack_shard(data, "t", [1, 2])


def test_well_formed_content_of_others_is_read():
    """The arrays above are refused for what was changed in them."""
    assert list(unpack_shard(pack_arrays(arrays()), "t", [1, 2])[0]) == [1, 2]


def test_what_is_compressed_is_not_unpacked():
    """A file of ours is stored: its members are no larger than itself."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("journal.npy", bytes(100 << 20))
    with pytest.raises(ValueError, match="compressed"):
        unpack_shard(packed.getvalue(), "t", [1])


@pytest.mark.parametrize(
    ("count", "batch", "size", "shards"),
    [
        (5000, 1, 64, 79), (5000, 3, 63, 80), (5000, 48, 48, 105), (5000, 64, 64, 79), (5000, 100, 100, 50),
        (60, 2, 8, 8), (60, 1, 8, 8), (240, 4, 32, 8), (240, 64, 64, 4), (3, 8, 8, 1), (0, 8, 8, 0),
    ],
)  # fmt: skip
def test_shards_are_whole_batches(count, batch, size, shards):
    """64 pictures at most, one batch at least, eight shards if there are so many batches, and together everything once."""
    pictures = [Picture(number, None, 8, 8) for number in range(count)]
    parts = cut(pictures, batch)
    assert len(parts) == shards
    assert sum(parts, ()) == tuple(pictures)
    sizes = {len(part) for part in parts[:-1]}
    assert sizes <= {size}, f"shards of {sizes} pictures, {size} expected"
    assert size % batch == 0


def test_what_is_not_exactly_once_is_named():
    """Missing, double and foreign pictures, each with their ids."""
    assert not_exactly_once([1, 1, 9], [1, 2, 3]) == "pictures missing: 2, 3; more than once: 1; foreign: 9"
    assert "0, 1, 2, 3, 4, ... (50 in all)" in not_exactly_once([], range(50))
    assert not_exactly_once([3, 1, 2], [1, 2, 3]) == ""


@pytest.mark.parametrize("name", ["boxes", "scores", "labels"])
def test_one_bit_is_another_answer(name):
    """The digest is over every array, in the order of the pictures."""
    answer = answer_digest(RESULTS)
    arrays_of_one = {part: getattr(RESULTS[7], part).copy() for part in ("boxes", "scores", "labels")}
    arrays_of_one[name].view(np.uint8).reshape(-1)[0] ^= 1
    assert answer_digest(RESULTS | {7: Detections(**arrays_of_one)}) != answer
    assert answer_digest({picture_id: RESULTS[picture_id] for picture_id in sorted(RESULTS)}) != answer
    assert answer_digest(dict(RESULTS)) == answer
