"""The way of a dataset's pictures through a session: in order, in whole batches, and without the device ever waiting.

aclruntime's `run()` keeps the GIL until the device is done (aclruntime source), so a thread beside it gets nothing done.
Pictures are therefore prepared by processes, two batches ahead, in memory that they share with this one (`decoder_pool`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.stream.dataset import Picture, refuse_lost
from fcos_lib.stream.decoder import prepare
from fcos_lib.stream.decoder_pool import DecoderPool
from fcos_lib.stream.letterbox import Geometry, blank, geometry, in_picture
from fcos_lib.stream.sessions import Detections, Outputs, Session, usable_cpus

BUFFERS = 3
"""Batches in memory: the one in use and two ahead."""
MOST_WORKERS = 8
"""One decodes hundreds of pictures per second, which the fastest device does not take."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures ready for the network; the last batch of a set is filled up with padding."""

    tensor: NDArray[Any]
    """float32[N, 3, H, W] or uint8[N, H, W, 3], as the layout says."""
    pictures: tuple[Picture, ...]
    """The pictures in the first slots; fewer than N in the last batch."""
    places: tuple[Geometry, ...]
    """Where each of them lies in the network input."""


class Feed:
    """One batch per group of pictures, in order, prepared by processes ahead of their use. Gone through once.

    A context manager; nothing is started before the first batch is asked for, and nothing is left when it is closed.
    """

    def __init__(
        self,
        groups: Iterable[Sequence[Picture]],
        contract: ModelContract,
        size: int,
        layout: InputLayout = InputLayout.FLOAT_NCHW,
        workers: int | None = None,
    ) -> None:
        """`groups` of `size` pictures at most are pulled when there is room for them; `workers` None is one per usable CPU.

        No more processes are started than there are pictures to prepare.
        """
        self._groups = iter(groups)
        self._contract, self._size, self._layout = contract, size, layout
        self._most_workers = min(MOST_WORKERS, usable_cpus()) if workers is None else workers
        self._decoders: DecoderPool | None = None
        self._closed = False

    def __iter__(self) -> Iterator[Batch]:
        """Batches whose tensor is valid until the next is asked for.

        `DatasetError` names the first broken picture, at its batch; `FeedError` says which process died, and over what.
        """
        self._refuse_closed()
        try:
            free, ahead = deque(range(BUFFERS)), deque[tuple[int, tuple[Picture, ...]]]()
            while True:
                while free and (group := next(self._groups, None)) is not None:
                    ahead.append((free.popleft(), tuple(group)))
                    self._order(*ahead[-1])
                if not ahead:
                    return
                buffer, pictures = ahead.popleft()
                yield self._finished(buffer, pictures)
                self._refuse_closed()
                free.append(buffer)
        finally:
            self.close()

    def close(self) -> None:
        """End the processes and give the memory back. Closing twice is harmless."""
        self._closed = True
        decoders, self._decoders = self._decoders, None
        if decoders is not None:
            decoders.close()

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ValueError("this feed is closed; one feed can be gone through once")

    def _order(self, buffer: int, pictures: tuple[Picture, ...]) -> None:
        _refuse_more(pictures, self._size)
        if self._decoders is None:
            count = BUFFERS * self._size
            self._decoders = DecoderPool(self._contract, self._layout, count, self._most_workers)
        unused = [None] * (self._size - len(pictures))
        self._decoders.order(self._slots_of(buffer), [*pictures, *unused])

    def _finished(self, buffer: int, pictures: tuple[Picture, ...]) -> Batch:
        assert self._decoders is not None
        tensor = self._decoders.wait(self._slots_of(buffer))
        return _batch(tensor, pictures, self._contract)

    def _slots_of(self, buffer: int) -> range:
        return range(buffer * self._size, (buffer + 1) * self._size)


def load_batch(
    pictures: Sequence[Picture], contract: ModelContract, size: int, layout: InputLayout = InputLayout.FLOAT_NCHW
) -> Batch:
    """Decode and letterbox up to `size` pictures in this process; `DatasetError` names the picture that is broken."""
    _refuse_more(pictures, size)
    tensor = np.empty(contract.input_shape(size, layout), layout.dtype)
    for slot in range(size):
        prepare(pictures[slot] if slot < len(pictures) else None, contract, layout, tensor[slot])
    return _batch(tensor, pictures, contract)


def _batch(tensor: NDArray[Any], pictures: Sequence[Picture], contract: ModelContract) -> Batch:
    fits = tuple(geometry(picture.width, picture.height, contract) for picture in pictures)
    return Batch(tensor, tuple(pictures), fits)


def batches(
    pictures: Sequence[Picture], contract: ModelContract, size: int, layout: InputLayout = InputLayout.FLOAT_NCHW
) -> Iterator[Batch]:
    """All pictures in order, each batch loaded in this process when it is asked for, into memory of its own."""
    for group in _groups(pictures, size):
        yield load_batch(group, contract, size, layout)


def in_batches(
    inputs: NDArray[Any], contract: ModelContract, size: int, layout: InputLayout = InputLayout.FLOAT_NCHW
) -> Iterator[NDArray[Any]]:
    """Network inputs that are loaded already, in batches of `size` and in order; the last one is filled up with padding."""
    for start in range(0, len(inputs), size):
        batch = inputs[start : start + size]
        if len(batch) < size:
            batch, part = blank(contract, size, layout), batch
            batch[: len(part)] = part
        yield batch


def detect(session: Session, pictures: Sequence[Picture], contract: ModelContract, size: int) -> dict[int, Detections]:
    """Detections of every picture by picture id, boxes in picture pixels; batches have the session's layout."""
    detections: dict[int, Detections] = {}
    with Feed(_groups(pictures, size), contract, size, session.layout) as feed:
        for batch in feed:
            outputs = session.run(batch.tensor)
            for slot, (picture, fit) in enumerate(zip(batch.pictures, batch.places, strict=True)):
                detections[picture.id] = in_picture(outputs.detections(slot), fit)
    refuse_lost([picture.id for picture in pictures], detections)
    return detections


def seen_in(batch: Batch, outputs: Outputs) -> dict[int, Detections]:
    """Detections of a batch's pictures by picture id, boxes in network pixels."""
    return {picture.id: outputs.detections(slot) for slot, picture in enumerate(batch.pictures)}


def _groups(pictures: Sequence[Picture], size: int) -> Iterator[Sequence[Picture]]:
    return (pictures[start : start + size] for start in range(0, len(pictures), size))


def _refuse_more(pictures: Sequence[Picture], size: int) -> None:
    if len(pictures) > size:
        raise ValueError(f"{len(pictures)} pictures do not fit into a batch of {size}")
