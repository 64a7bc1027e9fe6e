"""Decoder process: decodes pictures into memory that it shares with the process that feeds the device.

They share memory, `Slots`, and two pipes. A task is the number of a slot, whose note says which picture belongs there. The
first process that is free takes it, says so, writes the picture into the slot, and says so again; if it cannot, the note
says why. A process ends when nobody is left to give it tasks.
"""

from __future__ import annotations

import mmap
import os
import pickle
import struct
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.errors import DatasetError, FcosError, FeedError
from fcos_lib.stream.dataset import Picture, read_picture
from fcos_lib.stream.letterbox import clear, letterbox, letterbox_uint8

TASK = struct.Struct("=i")
"""A slot. Records are small and of one size, so that what several processes read or write at once stays whole."""
ANSWER = struct.Struct("=3i")
"""A process, a slot, and one of the next three."""
TAKEN, DONE, FAILED = range(3)

_NOTE = 1 << 16
"""Bytes reserved for one note; what is not used is never touched, so it takes up no memory."""
_LENGTH = struct.Struct("=i")


class Slots:
    """Network inputs in memory that several processes map, with a note for each."""

    def __init__(self, file: int) -> None:
        """Map what `create` has written."""
        self._memory = mmap.mmap(file, 0)
        self.contract, self.layout, count = self._read(0)
        shape = self.contract.input_shape(count, self.layout)
        start = _NOTE * (1 + count)
        values = np.frombuffer(self._memory, self.layout.dtype, int(np.prod(shape)), start)
        self.tensor: NDArray[Any] = values.reshape(shape)
        """float32[count, 3, H, W] or uint8[count, H, W, 3], as the layout says."""

    @classmethod
    def create(cls, file: int, contract: ModelContract, layout: InputLayout, count: int) -> Slots:
        """Make an empty file the memory of `count` slots, and map it; `OSError` if there is not enough room."""
        bytes_each = int(np.prod(contract.input_shape(1, layout))) * np.dtype(layout.dtype).itemsize
        os.ftruncate(file, _NOTE * (1 + count) + bytes_each * count)
        os.pwrite(file, _packed((contract, layout, count)), 0)
        return cls(file)

    def write_note(self, slot: int, value: Any) -> None:
        """Replace a slot's note, which is a few kilobytes at most."""
        data, start = _packed(value), _NOTE * (1 + slot)
        self._memory[start : start + len(data)] = data

    def note(self, slot: int) -> Any:
        """A slot's note as it was written last."""
        return self._read(_NOTE * (1 + slot))

    def _read(self, start: int) -> Any:
        (length,) = _LENGTH.unpack_from(self._memory, start)
        return pickle.loads(self._memory[start + _LENGTH.size : start + _LENGTH.size + length])


def prepare(picture: Picture | None, contract: ModelContract, layout: InputLayout, out: NDArray[Any]) -> None:
    """Write a picture, or nothing but padding, into one slot, whatever it held; `DatasetError` if the picture is broken."""
    if picture is None:
        clear(contract, out)
    elif layout is InputLayout.FLOAT_NCHW:
        letterbox(read_picture(picture), contract, out)
    else:
        letterbox_uint8(read_picture(picture), contract, out)


def task_note(picture: Picture | None) -> tuple[int, str, int, int] | None:
    """The note of a slot that is to be prepared: a picture's fields, which are written ten times as fast as itself."""
    return (picture.id, str(picture.path), picture.width, picture.height) if picture else None


def failure(kind: str, found: str, advice: str) -> FcosError:
    """The error that a note of a failed slot tells of."""
    return (DatasetError if kind == DatasetError.__name__ else FeedError)(found, advice)


def main() -> None:
    """Do tasks until there are no more; the arguments are this process's number and three descriptors."""
    number, file, tasks, answers = map(int, sys.argv[1:])
    cv2.setNumThreads(1)  # the processes are the parallelism
    slots = Slots(file)
    try:
        while record := os.read(tasks, TASK.size):
            (slot,) = TASK.unpack(record)
            os.write(answers, ANSWER.pack(number, slot, TAKEN))
            os.write(answers, ANSWER.pack(number, slot, _do(slots, slot)))
    except BrokenPipeError:
        pass  # nobody waits for the answer any more


def _do(slots: Slots, slot: int) -> int:
    note = slots.note(slot)
    picture = Picture(note[0], Path(note[1]), *note[2:]) if note else None
    try:
        prepare(picture, slots.contract, slots.layout, slots.tensor[slot])
        return DONE
    except (DatasetError, FeedError) as error:
        slots.write_note(slot, (type(error).__name__, error.found, error.advice))
    except Exception as error:
        # MemoryError, or something that nobody thought of: it belongs to this picture all the same.
        what = f"{type(error).__name__}: {error}"[:500]
        found = f"picture {picture.path if picture else '(none)'} could not be prepared ({what})"
        slots.write_note(slot, (FeedError.__name__, found, ""))
    return FAILED


def _packed(value: Any) -> bytes:
    data = pickle.dumps(value)
    if len(data) > _NOTE - _LENGTH.size:
        raise ValueError(f"a note of {len(data):,} bytes is too long")
    return _LENGTH.pack(len(data)) + data
