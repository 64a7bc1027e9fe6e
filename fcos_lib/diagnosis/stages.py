"""Why the mAP dropped: the stage that lost it, the kinds of mistakes that came of it, and the first layer that differs.

Everything is measured on OMs of its own (`tapped`), compiled like the one under test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.artifacts import ASCEND, PORTABLE
from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.diagnosis.blame import layers_are_worth_a_search
from fcos_lib.diagnosis.error_types import error_types
from fcos_lib.diagnosis.ladder import swap_ladder, usable
from fcos_lib.diagnosis.layers import Errors, LayerError, LayerSearch
from fcos_lib.diagnosis.tapped import Case, Clock, climb, tapped_session
from fcos_lib.errors import FcosError
from fcos_lib.measure.detections.matching import pair
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.feed import load_batch
from fcos_lib.stream.sessions import Detections

if TYPE_CHECKING:
    import onnx

    from fcos_lib.model.taps import Tap

KINDS = ("ladder", "error_types", "layers")
MOST_PICTURES = 500
WORST = 4
"""Pictures that the layer search looks at."""
TAPS_AT_ONCE = 60
"""Tensors that one OM returns: at full size the first layers of one picture are hundreds of megabytes."""


def explain(
    case: Case,
    reference: Mapping[int, Detections],
    *,
    judged: float | None = None,
    layers: bool = False,
    seconds: float | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Evidence of the kinds `ladder`, `error_types` and, if the network is to blame or with `layers`, of the kind `layers`:
    records with `kind` and `data`, JSON-ready.

    `reference` is what onnxruntime finds, by picture id in picture pixels, at least for the case's pictures. `judged` is the
    difference in mAP that a gate measured on the OM under test, to be shown beside. After `seconds` the pictures that were
    seen have to do. `say` hears what is done. `FcosError` for whatever cannot be compiled, loaded or read.
    """
    clock = Clock(seconds)
    say(f"running an OM that returns its inside, {case.options.batches}")
    rungs, stages, reach = climb(case, reference, clock)
    ladder = swap_ladder(case.truth, case.contract, rungs, stages)
    say(ladder.sentence)
    seen = [picture for picture in case.pictures if picture.id in rungs[0]]
    data: dict[str, Any] = ladder.as_evidence()
    left_out = ["decoding: the ONNX does not name its head, so it counts as network"] * ("decoding" not in stages)
    if judged is not None:
        data["judged"] = round(judged, 5)
    records = [
        {"kind": "ladder", "data": data},
        {"kind": "error_types", "data": _error_types(case, rungs, seen, reach)},
    ]
    if layers or layers_are_worth_a_search(data):
        before, after = rungs[stages.index("network")], rungs[stages.index("network") + 1]
        worst = sorted(seen, key=lambda picture: -_loss(before[picture.id], after[picture.id]))[:WORST]
        say(f"looking for the first layer that differs, in {len(worst)} pictures")
        try:
            if clock.spent(0.9):
                raise FcosError("no time was left")
            records.append({"kind": "layers", "data": search_layers(case, worst, clock).as_evidence()})
        except FcosError as error:  # the ladder is worth having without it
            left_out.append(f"layers: {error.found}")
    if left_out:
        data["left_out"] = "; ".join(left_out)
    return records


def explain_failure(
    case: Callable[[], Case],
    reference: Mapping[int, Detections],
    *,
    judged: float | None = None,
    seconds: float = 300,
) -> tuple[list[dict[str, Any]], str]:
    """What `explain` finds, and why it found nothing, for a gate that has failed: never raises an `Exception`.

    `case` is called in here, since making one may fail as well.
    """
    try:
        return explain(case(), reference, judged=judged, seconds=seconds), ""
    except Exception as error:  # the gate has failed already, and its reader needs that verdict
        text = error.found if isinstance(error, FcosError) else f"{type(error).__name__}: {error}"
        return [], f"the drop could not be explained: {text}"


def _loss(before: Detections, after: Detections) -> float:
    """How much score two sets of detections of one picture differ in."""
    pairing = pair(before, after)
    gaps = np.abs(before.scores[pairing.pairs[:, 0]] - after.scores[pairing.pairs[:, 1]])
    return float(gaps.sum() + before.scores[pairing.missing].sum() + after.scores[pairing.extra].sum())


def _error_types(
    case: Case, rungs: Sequence[Mapping[int, Detections]], pictures: Sequence[Picture], reach: float
) -> dict[str, Any]:
    found = [
        error_types(case.truth, case.contract, {number: usable(one, case.contract) for number, one in rung.items()}, pictures, reach)
        for rung in (rungs[0], rungs[-1])
    ]  # fmt: skip
    sides = dict(zip(("reference", "candidate"), found, strict=True))
    return {
        **{side: one.lost for side, one in sides.items()},
        "ap50": {side: round(one.ap50, 5) for side, one in sides.items()},
        "counts": {side: one.counts for side, one in sides.items()},
    }


def search_layers(case: Case, pictures: Sequence[Picture], clock: Clock | None = None) -> LayerSearch:
    """Compare the network layer by layer in these pictures, in OMs of batch size 1, up to the first that differs too much.

    The reference gets what the candidate's network got, so that neither preprocessing nor AIPP counts. `ExportError` if the
    two endings are not of one network, otherwise errors as of `explain`.
    """
    import onnx

    from fcos_lib.model.taps import taps_of, tensors_of

    clock = clock or Clock(None)
    trunk = onnx.load(case.onnx_models.path / PORTABLE)
    taps = taps_of(trunk, case.contract)
    named = set(
        tensors_of(onnx.load(case.onnx_models.path / ASCEND, load_external_data=False), [one.tensor for one in taps])
    )
    shared = [one for one in taps if one.tensor in named]
    layers: list[LayerError] = []
    found = LayerSearch((), tuple(picture.path.name for picture in pictures))
    for start in range(0, len(shared), TAPS_AT_ONCE):
        layers += _errors(case, trunk, taps, shared[start : start + TAPS_AT_ONCE], pictures, clock)
        found = replace(found, layers=tuple(layers))
        if found.first or clock.spent(1.0):
            break
    return found


def _errors(
    case: Case,
    trunk: onnx.ModelProto,
    taps: Sequence[Tap],
    shown: Sequence[Tap],
    pictures: Sequence[Picture],
    clock: Clock,
) -> list[LayerError]:
    """The errors of `shown` layers; fp16 rounds behind all `taps`."""
    from fcos_lib.model.taps import NETWORK_INPUT, rounded, tapped_trunk

    names = [one.tensor for one in shown]
    exact = tapped_trunk(trunk, names)
    reference, expected = _runner(exact, names, case.contract), _runner(rounded(exact, taps), names, case.contract)
    given = (NETWORK_INPUT,) if case.options.aipp else ()
    errors = Errors()
    with tapped_session(case, (*names, *given), 1, clock) as session:
        for picture in pictures:
            tensor = load_batch([picture], case.contract, 1, session.layout).tensor
            _, tensors = session.run_and_taps(tensor, (*names, *given))
            fed = tensors[NETWORK_INPUT] if session.layout is InputLayout.UINT8_NHWC else tensor
            errors.add(reference(fed), tensors, expected(fed))
            if clock.spent(1.0):
                break
    return [LayerError(one.name, one.operator, one.nodes, *errors.of(one.tensor)) for one in shown]


def _runner(
    model: onnx.ModelProto, names: Sequence[str], contract: ModelContract
) -> Callable[[NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """Runs a part of the reference in onnxruntime: from network input to tensors by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda batch: dict(zip(names, session.run(list(names), {contract.input_name: batch}), strict=True))
