"""How do the pictures of a dataset get through a session, in order, in whole batches?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.sessions import Detections, Session
from fcos_lib.stream.dataset import Picture, read_picture
from fcos_lib.stream.letterbox import Geometry, blank, letterbox, letterbox_uint8, to_picture


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures ready for the network; the last batch of a set is filled up with padding."""

    tensor: NDArray[Any]
    """float32[N, 3, H, W] or uint8[N, H, W, 3], as the layout says."""
    pictures: tuple[Picture, ...]
    """The pictures in the first slots; fewer than N in the last batch."""
    places: tuple[Geometry, ...]


def load_batch(
    pictures: Sequence[Picture], contract: ModelContract, size: int, layout: InputLayout = InputLayout.FLOAT_NCHW
) -> Batch:
    """Decode and letterbox up to `size` pictures; `DatasetError` names the picture that is broken."""
    write = letterbox if layout is InputLayout.FLOAT_NCHW else letterbox_uint8
    tensor = blank(contract, size, layout)
    places = tuple(write(read_picture(picture), contract, tensor[slot]) for slot, picture in enumerate(pictures))
    return Batch(tensor, tuple(pictures), places)


def batches(
    pictures: Sequence[Picture], contract: ModelContract, size: int, layout: InputLayout = InputLayout.FLOAT_NCHW
) -> Iterator[Batch]:
    """All pictures in order, one batch prepared ahead of the one in use."""
    groups = [pictures[start : start + size] for start in range(0, len(pictures), size)]
    with ThreadPoolExecutor(1) as reader:
        ahead = [reader.submit(load_batch, group, contract, size, layout) for group in groups[:1]]
        for following in [*groups[1:], None]:
            if not ahead:
                return
            ready = ahead.pop().result()
            if following is not None:
                ahead.append(reader.submit(load_batch, following, contract, size, layout))
            yield ready


def detect(session: Session, pictures: Sequence[Picture], contract: ModelContract, size: int) -> dict[int, Detections]:
    """Detections of every picture by picture id, boxes in picture pixels; batches have the session's layout."""
    found: dict[int, Detections] = {}
    for batch in batches(pictures, contract, size, session.layout):
        outputs = session.run(batch.tensor)
        for slot, (picture, place) in enumerate(zip(batch.pictures, batch.places, strict=True)):
            seen = outputs.detections(slot)
            found[picture.id] = Detections(to_picture(seen.boxes, place), seen.scores, seen.labels)
    return found
