"""Taps on a device: an OM that returns its inside, and what each rung of the ladder finds with it.

It is compiled like the OM under test, from the same ONNX with the same options, but for its further outputs. That is the
device's own arithmetic, with one reservation: more outputs may keep atc from fusing what it would have fused.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fcos_lib.artifacts import ASCEND, PORTABLE
from fcos_lib.artifacts.from_onnx import tapped_onnx_artifact
from fcos_lib.artifacts.om import om_artifact, om_path
from fcos_lib.ascend.atc_command import AtcOptions
from fcos_lib.ascend.om_session import OmSession
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.contract import ModelContract
from fcos_lib.diagnosis.blame import STAGES
from fcos_lib.diagnosis.error_types import reach_of
from fcos_lib.measure.coco.truth import Truth
from fcos_lib.measure.detections.bias import levels_of
from fcos_lib.measure.detections.matching import Pairs
from fcos_lib.measure.proposals.replay import replay
from fcos_lib.model.decoding import decode
from fcos_lib.store.artifacts import Artifact, Store
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.feed import Batch, Feed, load_batch
from fcos_lib.stream.letterbox import to_picture
from fcos_lib.stream.sessions import Detections, OnnxSession

_CLEAR = 0.3
"""Detections with such a score say which level finds what."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be explained: an OM as it was compiled, and what it is compared with."""

    contract: ModelContract
    truth: Truth
    pictures: tuple[Picture, ...]
    store: Store
    onnx_models: Artifact
    """Both endings: of the one for `atc` the OM was made, the other is the reference."""
    toolkit: Toolkit
    options: AtcOptions
    """Those of the OM, with a fixed batch size."""
    hold: Callable[[], AbstractContextManager[int]]
    """Holds a device while it is used, and says which, by its id."""
    atc_time_limit_s: float = 3600


class Clock:
    """How long an explanation may take; without a limit, as long as it takes."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self._whole = seconds or 0.0

    def spent(self, share: float) -> bool:
        """True if this share of the time is over."""
        return self._end is not None and time.monotonic() > self._end - (1 - share) * self._whole

    def at_most(self, seconds: float) -> float:
        """`seconds`, or what is left if that is less; at least one."""
        return seconds if self._end is None else max(1.0, min(seconds, self._end - time.monotonic()))


def climb(
    case: Case, reference: Mapping[int, Detections], clock: Clock
) -> tuple[list[dict[int, Detections]], tuple[str, ...], float]:
    """Detections of every rung in picture pixels, the stages between them, and `reach_of` what was found.

    Pictures come in a mixed order, while there is time.
    """
    import onnx

    from fcos_lib.model.export import head_names
    from fcos_lib.model.taps import NETWORK_INPUT, tensors_of

    contract, aipp = case.contract, case.options.aipp
    heads = tensors_of(onnx.load(case.onnx_models.path / ASCEND, load_external_data=False), head_names(contract))
    told_apart = len(heads) == len(head_names(contract))  # an ONNX that was exported elsewhere does not name its head
    heads = heads if told_apart else ()
    stages = STAGES if told_apart else tuple(stage for stage in STAGES if stage != "decoding")
    taps = (*heads, NETWORK_INPUT) if aipp else heads
    network = OnnxSession(case.onnx_models.path / PORTABLE, contract)
    rungs: list[dict[int, Detections]] = [{} for _ in range(len(stages) + 1)]
    origins: list[tuple[NDArray[np.float32], NDArray[np.int64]]] = []
    order = random.Random(0).sample(case.pictures, len(case.pictures))  # what is seen in time is a fair sample
    batch = case.options.batch
    groups = (order[start : start + batch] for start in range(0, len(order), batch))
    with tapped_session(case, taps, batch, clock) as session, Feed(groups, contract, batch, session.layout) as feed:
        for loaded in feed:
            outputs, tensors = session.run_and_taps(loaded.tensor, taps)
            used = len(loaded.pictures)
            sides: list[Sequence[Detections | None]] = [
                _as_fed(loaded, tensors.get(NETWORK_INPUT, loaded.tensor)[:used], network, reference)
            ]
            if told_apart:
                sides.append(replay(*decode({name: tensors[name][:used] for name in heads}, contract), contract))
            boxes, scores = (tensors[name][:used] for name in contract.proposal_names)
            replayed = replay(boxes, scores, contract)
            sides += [replayed, [outputs.detections(slot) for slot in range(used)]]
            origins.append(_origins(replayed, boxes, scores, contract))
            for slot, (picture, geometry) in enumerate(zip(loaded.pictures, loaded.places, strict=True)):
                rungs[0][picture.id] = reference[picture.id]
                for rung, side in zip(rungs[1:], sides, strict=True):
                    detections = side[slot]
                    if detections is None:  # the network was given what the reference was given
                        rung[picture.id] = reference[picture.id]
                    else:
                        rung[picture.id] = Detections(
                            to_picture(detections.boxes, geometry), detections.scores, detections.labels
                        )
            if clock.spent(0.6):
                break
    boxes, levels = (np.concatenate(column) for column in zip(*origins, strict=True))
    return rungs, stages, reach_of(boxes, levels, contract)


def _origins(
    replayed: Sequence[Detections], boxes: NDArray[np.float32], scores: NDArray[np.float32], contract: ModelContract
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Boxes [K, 4] and the levels that they come from, of what NMS clearly kept of the proposals."""
    clear = [detections.scores >= _CLEAR for detections in replayed]
    parts = [
        (detections.boxes[rows], detections.scores[rows], detections.labels[rows])
        for detections, rows in zip(replayed, clear, strict=True)
    ]
    kept = Detections(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    pictures = np.repeat(np.arange(len(replayed)), [int(rows.sum()) for rows in clear])
    return kept.boxes, levels_of(Pairs(pictures, kept, kept), boxes, scores, contract)


def _as_fed(
    loaded: Batch, fed: NDArray[np.float32], network: OnnxSession, reference: Mapping[int, Detections]
) -> list[Detections | None]:
    """What the reference's network finds in what the candidate's was given; None where that is what it was given itself."""
    own = load_batch(loaded.pictures, network.contract, len(loaded.pictures)).tensor
    if np.array_equal(own, fed):
        return [None] * len(fed)
    outputs = network.run(np.ascontiguousarray(fed))
    return [outputs.detections(slot) for slot in range(len(fed))]


@contextlib.contextmanager
def tapped_session(case: Case, taps: Sequence[str], batch: int, clock: Clock) -> Iterator[OmSession]:
    """A session on an OM like the one under test that returns `taps` of its inside, on the device while it is open."""
    options = replace(case.options, batch=batch, dynamic_batches=(), proposals=True, taps=tuple(taps))
    source = tapped_onnx_artifact(case.store, case.onnx_models, case.contract, taps)
    timeout = clock.at_most(case.atc_time_limit_s)
    om = om_path(om_artifact(case.store, source, case.contract, case.toolkit, options, timeout))
    with case.hold() as device_id, OmSession(om, case.contract, batch, device_id, options.layout) as session:
        yield session
