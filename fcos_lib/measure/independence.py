"""Independence of the two sides: how much of the candidate is the reference's own result, as it is or rounded once.

A device that computes in fp16 rounds in every layer, so few of its numbers are what rounding the reference's once would give.
Numbers that agree by nature are no evidence and are left out: 0, scores next to it, edges at the border of the network
input, and edges that lie so far out that fp16's step there is larger than what the network's own rounding moves them by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.measure import Measurement
from fcos_lib.measure.detections.matching import Pairs
from fcos_lib.model.decoding import Proposals

TELLING_SCORE = 1e-3
"""Proposals whose best score is below this are left out."""
TELLING_STEPS = 1024
"""An edge of a box counts if fp16 has this many steps over the box's longer side there. On the emulator a third of such edges
are what rounding the reference's once would give, of those with 64 to 128 steps 94 %."""
TELLING_EDGES = 2
"""Of a proposal's box, for the box to count."""
FEWEST = 30
"""Detections in all, or proposals of a picture, a level, or a level of a picture, below which chance would decide."""
FEWEST_PAIRS = 5
"""Detections of a picture below which chance would decide about it."""

Flags = NDArray[np.bool_]
Values = NDArray[np.float32]

SMALLEST = np.float32(2.0**-14)
"""The smallest normal fp16 number. What is nearer to 0 has fewer and fewer digits, and some devices make it 0."""
_LAST_BITS = np.uint32(6)
"""Of a float32's 24 bits: what is scaled and scaled back, or goes another way to the same number, differs in its last ones."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """One way of rounding, as it treats boxes [..., 4] in network pixels and scores of any shape."""

    boxes: Callable[[Values], Values]
    scores: Callable[[Values], Values]


def to_fp16(values: Values) -> Values:
    """The nearest fp16 numbers."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)


def _cut(bits: int, values: Values) -> Values:
    """Towards zero, with the last `bits` bits gone."""
    kept: NDArray[np.uint32] = values.view(np.uint32) & np.uint32(0xFFFFFFFF << bits & 0xFFFFFFFF)
    return kept.view(np.float32)


def _to_bf16(values: Values) -> Values:
    bits = values.view(np.uint32)
    return _cut(16, (bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))).view(np.float32))


def through_nms(boxes: Values) -> Values:
    """What the NMS operator makes of boxes [..., 4] (CANN's TIK kernel): a tenth in fp16, x2 and y2 less 1 meanwhile."""
    inner = to_fp16(to_fp16(boxes) * np.float32(np.float16(0.1)))
    inner[..., 2:] = to_fp16(to_fp16(inner[..., 2:] - np.float32(1)) + np.float32(1))
    return to_fp16(inner * np.float32(10))


def _decimals(digits: int, values: Values) -> Values:
    precise = values.astype(np.float64)  # in float32, round misses one number in a hundred
    return np.round(precise, digits).astype(np.float32)


def _both(rounding: Callable[[Values], Values]) -> Rounding:
    return Rounding(rounding, rounding)


AS_THEY_ARE = "as they are"
ROUNDINGS: Mapping[str, Rounding] = {
    AS_THEY_ARE: _both(lambda values: values),
    "rounded to fp16": _both(to_fp16),
    "cut to fp16": _both(partial(_cut, 13)),
    "rounded to bf16": _both(_to_bf16),
    "cut to bf16": _both(partial(_cut, 16)),
    "rounded by the NMS operator": Rounding(through_nms, to_fp16),
    "rounded to fp16 at a tenth of the size": Rounding(
        lambda boxes: to_fp16(boxes * np.float32(0.1)) * np.float32(10), to_fp16
    ),
    **{f"rounded to {digits} decimals": _both(partial(_decimals, digits)) for digits in range(7)},
}
"""By what a reader is told."""


def bits_of(values: Values) -> NDArray[np.uint32]:
    """Numbers as bits without the last ones: equal for values that differ by nothing but the way to them.

    What is nearer to 0 than `SMALLEST` is 0.
    """
    plain = np.where(np.abs(values) < SMALLEST, np.float32(0), values)
    half = np.uint32(1) << (_LAST_BITS - np.uint32(1))
    bits: NDArray[np.uint32] = (np.ascontiguousarray(plain).view(np.uint32) + half) >> _LAST_BITS
    return bits


def keys_of(rows: Values) -> NDArray[np.uint64]:
    """A key for each row of [..., D], uint64[...], equal for rows with equal `bits_of`; 0 for rows of nothing but 0."""
    factors = np.random.default_rng(0).integers(1, 2**63, rows.shape[-1], np.uint64) | np.uint64(1)
    with np.errstate(over="ignore"):
        keys: NDArray[np.uint64] = (bits_of(rows).astype(np.uint64) * factors).sum(axis=-1, dtype=np.uint64)
    return keys


def identical(pairs: Pairs, names: Sequence[str], *, rounded: bool = True) -> tuple[Measurement, Measurement]:
    """The share of pairs whose box and score are the reference's, and the number of pictures in which those of all pairs are.

    Pictures by their index in `names`; one with fewer than `FEWEST_PAIRS` pairs is never counted. With `rounded` False, or fewer
    than `FEWEST` pairs, only numbers as they are count: a device that keeps float32 up to its NMS may well come to what
    one rounding gives, and so may few detections by chance.
    """
    hows = tuple(ROUNDINGS) if rounded and len(pairs) >= FEWEST else (AS_THEY_ARE,)
    copied = {how: np.logical_and(_edges(pairs, how).all(axis=1), _scores(pairs, how)) for how in hows}
    pictures, counts = np.unique(pairs.pictures, return_counts=True)
    large = pictures[counts >= FEWEST_PAIRS]
    whole = sorted({int(index) for rows in copied.values() for index in large if rows[pairs.pictures == index].all()})
    share, how = _most(copied)
    where = f"{round(share * len(pairs))} of {len(pairs)} pairs are the reference's, {how}, in all five numbers"
    listed = ", ".join(names[picture] for picture in whole[:3]) + ("" if len(whole) <= 3 else ", ...")
    return (
        Measurement("identical detections", share, "share", len(pairs), where, gate="consistency.identical"),
        Measurement(
            "pictures of identical detections",
            float(len(whole)),
            "pictures",
            len(large),
            listed,
            gate="consistency.identical_pictures",
        ),
    )


def identical_parts(pairs: Pairs, contract: ModelContract) -> tuple[Measurement, Measurement]:
    """The share of pairs whose box is the reference's, and of those whose score is, as they are or rounded once.

    Of boxes, in network pixels, only the telling edges count, and boxes without any are left out. n is 0 for fewer than
    `FEWEST` of either.
    """
    telling = telling_edges(pairs.reference.boxes, contract)
    some = telling.any(axis=1)
    boxes = {how: np.asarray((_edges(pairs, how) | ~telling)[some].all(axis=1)) for how in ROUNDINGS}
    scores = {how: _scores(pairs, how) for how in ROUNDINGS}
    parts = []
    for what, copied in (("boxes", boxes), ("scores", scores)):
        share, how = _most(copied)
        count = len(copied[how])
        where = f"{round(share * count)} of {count} {what} are the reference's, {how}"
        n = count if count >= FEWEST else 0
        parts.append(Measurement(f"identical {what}", share, "share", n, where, gate=f"consistency.identical_{what}"))
    return parts[0], parts[1]


def identical_proposals(
    reference: Proposals, candidate: Proposals, names: Sequence[str], contract: ModelContract
) -> tuple[Measurement, Measurement]:
    """The share of proposals whose box, and of those whose scores, are the reference's: where it is largest.

    Boxes [P, M, 4] in network pixels and scores [P, M, C] of the pictures `names`. Looked at are each picture, each level and
    each level of a picture, if `FEWEST` proposals count there. Rows of a picture are told by their numbers and not by their
    place: a copy in another order is a copy.
    """
    boxes, scores = (np.asarray(part, np.float32) for part in reference)
    seen = scores.max(axis=2) > TELLING_SCORE
    edges = telling_edges(boxes, contract).sum(axis=2) >= TELLING_EDGES
    results = []
    for what, ours, theirs, telling in (
        ("boxes", boxes, candidate[0], seen & edges),
        ("scores", scores, candidate[1], seen),
    ):
        groups = list(_groups(telling, names, contract))
        keys = _in_their_picture(keys_of(np.asarray(theirs, np.float32)))
        share, where = 0.0, ""
        for how, rounding in ROUNDINGS.items():
            rounded = getattr(rounding, what)(ours[telling])
            row_keys = keys_of(rounded)
            copied = np.isin(_in_their_picture(row_keys, np.nonzero(telling)[0]), keys) & (row_keys != 0)
            for words, group in groups:
                here = float(copied[group].mean())
                if here > share:
                    share, where = here, f"{here:.0%} of the {what} {words} are the reference's, {how}"
        name, gate = f"identical {what} before NMS", f"proposals.identical_{what}"
        results.append(Measurement(name, share, "share", int(telling.sum()), where, gate=gate))
    return results[0], results[1]


def telling_edges(boxes: NDArray[np.float32], contract: ModelContract) -> Flags:
    """bool[..., 4]: which edges of boxes [..., 4] a network's rounding moves by more than one rounding at the end would."""
    ends = np.array([contract.width, contract.height] * 2, np.float32)
    longer = np.abs(boxes[..., 2:] - boxes[..., :2]).max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        steps = np.spacing(np.abs(to_fp16(boxes)).astype(np.float16)).astype(np.float32)
    telling: Flags = (longer >= TELLING_STEPS * steps) & (np.abs(boxes) >= SMALLEST) & (boxes < ends)
    return telling


def _edges(pairs: Pairs, how: str) -> Flags:
    """bool[P, 4]: which edges of the candidate's boxes are the reference's."""
    same: Flags = np.equal(bits_of(ROUNDINGS[how].boxes(pairs.reference.boxes)), bits_of(pairs.candidate.boxes))
    return same


def _scores(pairs: Pairs, how: str) -> Flags:
    """bool[P]: which of the candidate's scores are the reference's."""
    same: Flags = np.equal(bits_of(ROUNDINGS[how].scores(pairs.reference.scores)), bits_of(pairs.candidate.scores))
    return same


def _most(copied: dict[str, Flags]) -> tuple[float, str]:
    """The largest share and how it came about; 0 if there is nothing to look at."""
    shares = {how: float(rows.mean()) if len(rows) else 0.0 for how, rows in copied.items()}
    how = max(shares, key=lambda name: shares[name])
    return shares[how], how


def _in_their_picture(keys: NDArray[np.uint64], pictures: NDArray[np.intp] | None = None) -> NDArray[np.uint64]:
    """Keys [P, M], or [T] of rows in these pictures, made different for the same row in different pictures."""
    which = np.arange(len(keys))[:, None] if pictures is None else pictures
    with np.errstate(over="ignore"):
        own: NDArray[np.uint64] = keys + (which.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return own


def _groups(telling: Flags, names: Sequence[str], contract: ModelContract) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Parts of the telling proposals that are large enough to be looked at, by name: indices into the telling rows [T]."""
    pictures, rows = np.nonzero(telling)
    levels = np.repeat(np.arange(len(contract.strides)), contract.proposals_by_level)[rows]
    level_names = [f"P{stride.bit_length() - 1}" for stride in contract.strides]
    parts = [(f"of level {name}", np.flatnonzero(levels == level)) for level, name in enumerate(level_names)]
    for picture, name in enumerate(names):
        inside = np.flatnonzero(pictures == picture)
        parts.append((f"in {name}", inside))
        parts += [
            (f"of level {level_name} in {name}", inside[levels[inside] == level])
            for level, level_name in enumerate(level_names)
        ]
    yield from (part for part in parts if len(part[1]) >= FEWEST)
