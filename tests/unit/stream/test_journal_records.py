"""A batch of results becomes a line and comes back bit for bit; what broke off is told from what is whole."""

import base64
import json
import math
import zlib

import numpy as np
import pytest

from fcos_lib.stream.journal_records import (
    Plan,
    Record,
    encode_record,
    parse_record,
    read_lines,
    read_shard,
)
from fcos_lib.stream.picture_ids import not_exactly_once
from fcos_lib.stream.sessions import Detections


def detections(rows, seed=0):
    """Random boxes and scores."""
    chance = np.random.default_rng(seed)
    return Detections(
        chance.uniform(0, 600, (rows, 4)).astype(np.float32),
        chance.uniform(0, 1, rows).astype(np.float32),
        chance.integers(0, 80, rows),
    )


def line(batch, token="t"):
    """A batch of two pictures."""
    return encode_record(Record(token, batch, ((2 * batch, detections(2, batch)), (2 * batch + 1, detections(0)))))


def checked(content):
    """Any content as a line with the right checksum."""
    payload = json.dumps(content).encode() if not isinstance(content, bytes) else content
    return b"%08x " % zlib.crc32(payload) + payload


@pytest.mark.parametrize("rows", [0, 1, 100])
def test_numbers_come_back_bit_for_bit(rows):
    """Bytes and types are those that were written."""
    before = detections(rows)
    ((_, after),) = parse_record(encode_record(Record("t", 0, ((7, before),)))[:-1]).found
    for name in ("boxes", "scores", "labels"):
        written, read = getattr(before, name), getattr(after, name)
        assert (read.dtype, read.shape, read.tobytes()) == (written.dtype, written.shape, written.tobytes()), name


def test_unusual_floats_come_back_too():
    """The smallest number, a negative zero and the largest number survive, which decimal text may lose."""
    odd = np.array([[1e-45, -0.0, 3.4028235e38, 0.1]], np.float32)
    seen = Detections(odd, odd[0, 3:], np.array([-(2**63)]))
    ((_, after),) = parse_record(encode_record(Record("t", 0, ((1, seen),)))[:-1]).found
    assert after.boxes.tobytes() == odd.tobytes()
    assert after.labels[0] == -(2**63)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (Detections(np.zeros((1, 4)), np.zeros(1, np.float32), np.zeros(1, np.int64)), "other types"),
        (Detections(np.zeros((2, 4), np.float32), np.zeros(1, np.float32), np.zeros(1, np.int64)), "lengths"),
        (Detections(np.full((1, 4), np.nan, np.float32), np.zeros(1, np.float32), np.zeros(1, np.int64)), "finite"),
        (detections(5000), "too many"),
    ],
    ids=["float64", "lengths", "nan", "size"],
)
def test_nothing_is_written_that_could_not_be_read(seen, reason):
    """What would be changed or refused on the way back is refused on the way in."""
    with pytest.raises(ValueError, match=reason):
        encode_record(Record("t", 0, ((1, seen),)))


def test_a_line_torn_anywhere_is_dropped_and_the_others_stay():
    """At each byte at which a write can break off, the whole lines before it are what remains."""
    kept, last = line(0) + line(1), line(2)
    for end in range(len(last)):
        records, whole = read_lines(kept + last[:end])
        assert ([record.batch for record in records], whole) == ([0, 1], len(kept)), f"broken off at byte {end}"
    assert len(read_lines(kept + last)[0]) == 3


def test_any_damaged_byte_in_the_last_line_drops_it():
    """Each byte in turn: what is not as it was written does not count."""
    kept, last = line(0) + line(1), line(2)
    for place in range(len(last)):
        damaged = bytearray(last)
        damaged[place] ^= 0x01
        assert read_lines(kept + bytes(damaged))[1] == len(kept), f"byte {place}"


def test_zeros_at_the_end_are_dropped():
    """What a file system may show for lines that a loss of power took."""
    assert read_lines(line(0) + bytes(700))[1] == len(line(0))
    assert read_lines(line(0) + bytes(700) + b"\n" + line(2)[20:])[1] == len(line(0))


def test_damage_before_a_whole_line_is_an_error():
    """No interruption leaves that, so nothing is repaired."""
    data = bytearray(line(0) + line(1) + line(2))
    data[len(line(0)) + 30] ^= 0x01
    with pytest.raises(ValueError, match=r"record 2 is damaged .* record 3 behind it is whole"):
        read_lines(bytes(data))


def picture(**changes):
    """A picture as a line has it, with changes."""
    entry = {"id": 1, "labels": [3], "boxes": base64.b64encode(bytes(16)).decode(), "scores": "AAAAAA=="}
    return {"journal": "t", "batch": 0, "pictures": [entry | changes]}


INFINITE = base64.b64encode(np.array([math.inf], "<f4").tobytes()).decode()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"nonsense", b"[" * 100_000, b"[]", b"\xff\xfe", b'{"batch": NaN}', b"9" * 5000, {},
        {"journal": "t", "batch": 0, "pictures": []},
        {"journal": "t", "batch": 0, "pictures": "many"},
        {"journal": "t", "batch": 0, "pictures": [None]},
        picture() | {"batch": True}, picture() | {"batch": 0.0}, picture() | {"journal": 1},
        picture(id="1"), picture(id=None), picture(labels=3), picture(labels=[0.5]), picture(labels=[True]),
        picture(labels=[2**63]), picture(labels=[]), picture(boxes="AAAA"), picture(boxes="*" * 24),
        picture(boxes=None), picture(scores=INFINITE), picture(scores="AAAA"), picture(labels=[1] * 200_000),
    ],
    ids=str,
)  # fmt: skip
def test_foreign_content_is_refused_whatever_it_is(content):
    """A right checksum is no reason to believe the rest."""
    with pytest.raises(ValueError, match=r".+"):
        parse_record(checked(content))


def test_well_formed_content_of_others_is_read():
    """The lines above are refused for what was changed in them."""
    assert parse_record(checked(picture())).picture_ids == (1,)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([0, 1, 1], r"once each: .*more than once: 2, 3"),
        ([0, 2], r"missing: 2, 3; foreign: 4, 5"),
        ([1, 0], "not in order"),
        ([0, 1, 2, 3, 4], "foreign: 8, 9"),
    ],
    ids=["twice", "left out", "swapped", "of another shard"],
)
def test_a_shard_holds_its_batches_once_and_in_order(lines, reason):
    """Anything else names the pictures."""
    plan = Plan(tuple(range(200)), 2)
    with pytest.raises(ValueError, match=reason):
        read_shard(b"".join(map(line, lines)), Plan(plan.picture_ids[:8], 2), 0, "t")


def test_a_shard_of_another_journal_is_refused():
    """Results of another fingerprint have another token."""
    with pytest.raises(ValueError, match="another journal"):
        read_shard(line(0, "old"), Plan((0, 1), 2), 0, "new")


@pytest.mark.parametrize(("batch", "batches"), [(1, 64), (3, 21), (8, 8), (48, 1), (64, 1), (100, 1)])
def test_shards_are_whole_batches(batch, batches):
    """About 64 pictures, one batch at least, and together everything once."""
    plan = Plan(tuple(range(1000)), batch)
    assert plan.shard_batches == batches
    cut = [plan.ids_of(plan.batches_of(shard)) for shard in range(plan.shards)]
    assert sum(cut, ()) == plan.picture_ids
    assert {len(ids) % batch for ids in cut[:-1]} <= {0}


def test_what_is_not_exactly_once_is_named():
    """Missing, double and foreign pictures, each with their ids."""
    assert not_exactly_once([1, 1, 9], [1, 2, 3]) == "pictures missing: 2, 3; more than once: 1; foreign: 9"
    assert "0, 1, 2, 3, 4, ... (50 in all)" in not_exactly_once([], range(50))
    assert not_exactly_once([3, 1, 2], [1, 2, 3]) == ""
