"""Pictures reach a session in order, in the layout that it takes, as they would if each were loaded when it is needed."""

import os

import cv2
import numpy as np
import pytest

from fcos_lib.contract import SHAPES, InputLayout
from fcos_lib.errors import DatasetError, FeedError
from fcos_lib.judge.exit_status import outcome_of
from fcos_lib.judge.verdict import Outcome
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.feed import Feed, batches, detect, in_batches, load_batch
from fcos_lib.stream.letterbox import blank
from fcos_lib.stream.sessions import Outputs

UINT8 = InputLayout.UINT8_NHWC
in_both_layouts = pytest.mark.parametrize("layout", list(InputLayout), ids=lambda layout: layout.name)


class Recorder:
    """A session that finds nothing and remembers what it was given."""

    contract = SHAPES

    def __init__(self, layout):
        self.layout, self.batches = layout, []

    def run(self, batch):
        """Outputs without a detection."""
        self.batches.append(batch)
        return Outputs(np.zeros((len(batch), 100), np.int64), np.zeros((len(batch), 100, 5), np.float32))


@pytest.fixture
def pictures(tmp_path):
    """Eleven pictures of noise, each of a size of its own, landscapes and portraits."""
    random, pictures = np.random.default_rng(0), []
    for number in range(11):
        width, height = 40 + 7 * number, 100 - 5 * number
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), random.integers(0, 256, (height, width, 3), np.uint8))
        pictures.append(Picture(100 + number, path, width, height))
    return pictures


def grouped(pictures, size):
    """Groups of `size`, the last with the rest."""
    return [pictures[start : start + size] for start in range(0, len(pictures), size)]


@in_both_layouts
@pytest.mark.parametrize("size", [1, 4])
def test_every_batch_is_what_loading_it_alone_gives(pictures, layout, size):
    """In order and bit for bit, the filled up last batch included, though each memory is used for several batches."""
    with Feed(grouped(pictures, size), SHAPES, size, layout) as feed:
        came = [(batch.pictures, batch.places, batch.tensor.copy()) for batch in feed]
    assert [picture.id for group, _, _ in came for picture in group] == [picture.id for picture in pictures]
    for group, places, tensor in came:
        alone = load_batch(group, SHAPES, size, layout)
        assert places == alone.places
        assert tensor.dtype == alone.tensor.dtype
        np.testing.assert_array_equal(tensor, alone.tensor)


@in_both_layouts
def test_unused_slots_are_padding_wherever_they_come(pictures, layout):
    """Short and empty groups in the middle, in memory that pictures have been in."""
    groups = [pictures[:3], pictures[3:6], pictures[6:9], pictures[:1], [], pictures[9:], pictures[2:5]]
    with Feed(groups, SHAPES, 3, layout) as feed:
        for batch, group in zip(feed, groups, strict=True):
            np.testing.assert_array_equal(batch.tensor, load_batch(group, SHAPES, 3, layout).tensor)


def test_groups_are_pulled_two_batches_ahead(pictures):
    """So that they may come from something that is still being decided."""
    pulled = []

    def groups():
        for group in grouped(pictures, 2):
            pulled.append(group)
            yield group

    with Feed(groups(), SHAPES, 2) as feed:
        assert not pulled, "groups were pulled before anybody asked for a batch"
        counts = [len(pulled) for _ in feed]
    assert counts == [3, 4, 5, 6, 6, 6]


def test_a_tensor_stays_until_the_next_is_asked_for(pictures):
    """And the last one stays for good, even when the feed is closed."""
    with Feed(grouped(pictures, 4), SHAPES, 4) as feed:
        *_, last = feed
    np.testing.assert_array_equal(last.tensor, load_batch(pictures[8:], SHAPES, 4).tensor)


def test_a_broken_picture_is_named_at_its_batch(pictures):
    """With the words of reading it here; the batches before it come through, the first in order is named."""
    for number in (5, 6):
        pictures[number].path.write_bytes(b"no picture")
    seen = []
    with Feed(grouped(pictures, 2), SHAPES, 2) as feed, pytest.raises(DatasetError) as caught:
        seen.extend(batch.pictures[0].id for batch in feed)
    assert seen == [100, 102]
    with pytest.raises(DatasetError) as alone:
        load_batch(pictures[4:6], SHAPES, 2)
    assert (caught.value.found, caught.value.advice) == (alone.value.found, alone.value.advice)
    assert "5.png" in caught.value.found


def test_an_unforeseen_error_names_its_picture(pictures, tmp_path):
    """Whatever goes wrong in another process is no riddle here, and it is not the detector's fault."""
    path = tmp_path / "b.png"
    path.write_bytes(pictures[0].path.read_bytes())
    odd = Picture(1, path, "wide", 30)
    with (
        Feed([pictures[:1], [odd]], SHAPES, 1) as feed,
        pytest.raises(FeedError, match=r"b\.png could not be prepared"),
    ):
        for _ in feed:
            pass
    assert outcome_of(FeedError("x")) is Outcome.INFRA


def test_a_name_that_is_no_text_is_no_obstacle(pictures, tmp_path):
    """Names of files are bytes."""
    path = tmp_path / os.fsdecode(b"\xff\n \xc3\xa9.png")
    path.write_bytes(pictures[0].path.read_bytes())
    odd = Picture(1, path, pictures[0].width, pictures[0].height)
    with Feed([[odd]], SHAPES, 1) as feed:
        (batch,) = feed
        np.testing.assert_array_equal(batch.tensor, load_batch([odd], SHAPES, 1).tensor)


def test_a_group_that_is_too_large_is_refused(pictures):
    """Its last pictures would be lost without a word."""
    with Feed([pictures[:3]], SHAPES, 2) as feed, pytest.raises(ValueError, match="3 pictures do not fit"):
        next(iter(feed))
    with pytest.raises(ValueError, match="3 pictures do not fit"):
        load_batch(pictures[:3], SHAPES, 2)


def test_an_error_of_the_groups_comes_through(pictures):
    """Nothing is made of it."""

    def groups():
        yield pictures[:1]
        raise LookupError("no more")

    with Feed(groups(), SHAPES, 1) as feed, pytest.raises(LookupError, match="no more"):
        next(iter(feed))


def test_a_closed_feed_says_so(pictures):
    """Going on would silently skip pictures."""
    with Feed(grouped(pictures, 1), SHAPES, 1) as feed:
        rest = iter(feed)
        next(rest)
    with pytest.raises(ValueError, match="closed"):
        next(rest)
    with pytest.raises(ValueError, match="closed"):
        next(iter(feed))


@in_both_layouts
def test_batches_have_the_sessions_layout(pictures, layout):
    """Type and shape are the layout's, and every picture gets its result."""
    session = Recorder(layout)
    assert list(detect(session, pictures[:3], SHAPES, 2)) == [100, 101, 102]
    assert [batch.shape for batch in session.batches] == [SHAPES.input_shape(2, layout)] * 2
    assert {batch.dtype for batch in session.batches} == {np.dtype(layout.dtype)}
    assert detect(session, [], SHAPES, 2) == {}
    assert len(session.batches) == 2, "no pictures are no work"


def test_both_layouts_show_the_same_pictures(pictures):
    """Bytes minus the mean are the floats, and both know where the picture lies."""
    floats, pixels = load_batch(pictures, SHAPES, 11), load_batch(pictures, SHAPES, 11, UINT8)
    assert floats.places == pixels.places
    centred = pixels.tensor.astype(np.float32) - np.array(SHAPES.mean_bgr, np.float32)
    np.testing.assert_allclose(centred.transpose(0, 3, 1, 2), floats.tensor, atol=0.25)  # 0.23 is the padding's rest


def test_batches_loaded_here_can_be_kept(pictures):
    """Each has memory of its own, and a slot that is not used holds the mean: zeros would be a black picture."""
    kept = list(batches(pictures[:3], SHAPES, 2, UINT8))
    np.testing.assert_array_equal(kept[0].tensor, load_batch(pictures[:2], SHAPES, 2, UINT8).tensor)
    assert len(kept[1].pictures) == 1
    assert (kept[1].tensor[1] == SHAPES.padding_bgr).all()


@in_both_layouts
@pytest.mark.parametrize("count", [1, 4, 6])
def test_loaded_inputs_come_in_batches_filled_up_with_padding(layout, count):
    """None is left out, and the rest of the last batch is what unused slots hold."""
    inputs = blank(SHAPES, count, layout)
    inputs[:, 0, 0, 0] = 1 + np.arange(count)
    filled = list(in_batches(inputs, SHAPES, 4, layout))
    assert {batch.shape for batch in filled} == {SHAPES.input_shape(4, layout)}
    slots = np.concatenate(filled)
    np.testing.assert_array_equal(slots[:count], inputs)
    np.testing.assert_array_equal(slots[count:], blank(SHAPES, len(slots), layout)[count:])
