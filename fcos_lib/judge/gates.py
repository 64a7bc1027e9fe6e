"""The catalogue of gates: every number that the suite judges or records, with the limit that it is held to.

A measurement carries its gate's key, by which its limit is found. A limits file is checked against this catalogue before a run
(`judge.limits`), and a run is held to it at its end (`judge.roll_call`).
"""

from __future__ import annotations

from dataclasses import replace

from fcos_lib.contract import EMBEDDED
from fcos_lib.errors import FcosError
from fcos_lib.judge.gate import AT_LEAST, AT_MOST, Data, Gate, On, catalogue, family

_FLOAT32 = "an OM that keeps float32 up to its NMS may come to the same as the reference, by computing it"

_CONTRACT = Gate(
    "contract.broken_rows", "contract", "broken rows", "rows", AT_MOST, On.EACH_BATCH, Data.SAMPLE,
    "test_contract.py::test_every_row_is_a_detection_or_padding", "contract.broken_rows",
)  # fmt: skip
_DETECTIONS = Gate(
    "", "consistency", "", "", "", On.EACH_BATCH, Data.SAMPLE,
    "test_consistency.py::test_detections_match_the_reference", "consistency.{contract}.{name}",
)  # fmt: skip
_SLOTS = Gate(
    "", "consistency", "", "", "", On.EACH_BATCH, Data.ONE,
    "test_batch_truth.py::test_every_slot_finds_the_same", "batch_truth.{name}",
)  # fmt: skip
_PROPOSALS = Gate(
    "", "consistency", "", "", "", On.SMALLEST_BATCH, Data.SAMPLE,
    "test_proposals.py::test_the_network_and_its_nms_match_the_reference", "proposals.{contract}.{name}",
    unless="--om compiles nothing, and this gate needs an OM of its own",
)  # fmt: skip
_ACCURACY = Gate(
    "", "accuracy", "", "", "", On.EACH_BATCH, Data.PAIRED,
    "test_accuracy.py::test_the_candidate_reaches_the_limit", "paired.{contract}.{name}",
)  # fmt: skip
_REFERENCE = Gate(
    "", "accuracy", "", "AP", "", On.REFERENCE, Data.WHOLE,
    "test_accuracy.py::test_the_reference_reaches_the_limit", "against_mmdet.{name}",
    unless="part of a dataset, or a large one without --reference: the reference's own mAP would be another number",
)  # fmt: skip
_AS_PUBLISHED = ("coco_r50",)
"""Contracts whose mAP was published, computed by the recipe's arithmetic: that number is held to the figure, and ours recorded."""
_RULER = replace(
    _REFERENCE, key="accuracy.reference_ruler", name="distance from pycocotools", direction=AT_MOST,
    limit="accuracy.distance_from_pycocotools", instrument="the ruler is off",
)  # fmt: skip
_TIMED = Gate(
    "throughput.rate", "throughput", "throughput", "images/s", "", On.EACH_BATCH, Data.TIMED,
    "test_throughput.py::test_throughput_is_as_published",
)  # fmt: skip
_FALLEN = replace(_TIMED, test="test_throughput.py::test_throughput_has_not_fallen")
_COST = Gate(
    "", "cost", "", "", "", On.EACH_BATCH, Data.FILES,
    "test_cost.py::test_the_om_costs_no_more_than_the_champion", "cost.{name}",
)  # fmt: skip


GATES = catalogue(
    _CONTRACT,
    replace(
        _CONTRACT, key="contract.broken_reference_rows", on=On.REFERENCE,
        test="test_contract.py::test_the_reference_keeps_the_same_promise",
    ),
    Gate(
        "contract.without_reference", "accuracy", "pictures without a reference", "pictures", AT_MOST, On.REFERENCE,
        Data.PAIRED, "test_golden.py::test_the_reference_has_seen_the_pictures", "contract.without_reference",
    ),
    *family(
        Gate(
            "", "contract", "", "", "", On.INPUTS, Data.SAMPLE,
            "test_inputs.py::test_the_network_gets_what_the_recipe_gives_it", "inputs.{name}",
        ),
        ("inputs.wrong", "wrong network inputs", "pictures", AT_MOST),
        ("inputs.way_back", "inverse letterbox error", "px", AT_MOST),
    ),
    *family(
        _DETECTIONS,
        ("consistency.unexplained", "unexplained differences", "detections", AT_MOST),
        ("consistency.explained", "explained differences", "share", AT_MOST),
        ("consistency.identical", "identical detections", "share", AT_MOST),
        ("consistency.identical_pictures", "pictures of identical detections", "pictures", AT_MOST),
    ),
    *family(
        replace(_DETECTIONS, unless=_FLOAT32),
        ("consistency.identical_boxes", "identical boxes", "share", AT_MOST),
        ("consistency.identical_scores", "identical scores", "share", AT_MOST),
    ),
    *family(
        replace(_DETECTIONS, limit="bias.{contract}.{name}"),
        ("bias.size", "size bias", "log ratio", AT_MOST),
        ("bias.centre_x", "centre x bias", "px", AT_MOST),
        ("bias.centre_y", "centre y bias", "px", AT_MOST),
        ("bias.score", "score bias", "score", AT_MOST),
    ),
    *family(
        _SLOTS,
        ("between_slots.unmatched", "unmatched detections between slots", "share", AT_MOST),
        ("between_slots.score", "largest score difference between slots", "score", AT_MOST),
        ("between_slots.box", "largest box difference between slots", "px", AT_MOST),
    ),
    *family(
        replace(_SLOTS, data=Data.SAMPLE, test="test_batch_truth.py::test_every_batch_size_finds_the_same"),
        ("between_batch_sizes.unmatched", "unmatched detections between batch sizes", "share", AT_MOST),
        ("between_batch_sizes.score", "largest score difference between batch sizes", "score", AT_MOST),
        ("between_batch_sizes.box", "largest box difference between batch sizes", "px", AT_MOST),
    ),
    *family(
        _PROPOSALS,
        ("proposals.non_finite", "non-finite proposals", "values", AT_MOST),
        ("proposals.cosine_boxes", "cosine of boxes", "cosine", AT_LEAST),
        ("proposals.relative_distance_boxes", "relative distance of boxes", "share", AT_MOST),
        ("proposals.largest_difference_boxes", "largest difference of boxes", "px", AT_MOST),
        ("proposals.cosine_scores", "cosine of scores", "cosine", AT_LEAST),
        ("proposals.relative_distance_scores", "relative distance of scores", "share", AT_MOST),
        ("proposals.largest_difference_scores", "largest difference of scores", "score", AT_MOST),
    ),
    *family(
        replace(_PROPOSALS, unless=f"{_PROPOSALS.unless}; {_FLOAT32}"),
        ("proposals.identical_boxes", "identical boxes before NMS", "share", AT_MOST),
        ("proposals.identical_scores", "identical scores before NMS", "share", AT_MOST),
    ),
    replace(
        _PROPOSALS, key="proposals.non_finite_detections", name="non-finite detections", unit="values",
        direction=AT_MOST, limit="proposals.{contract}.non_finite",
    ),
    *family(
        replace(_PROPOSALS, limit="consistency.{contract}.{name}"),
        ("network.unexplained", "unexplained differences by the network", "detections", AT_MOST),
        ("network.explained", "explained differences by the network", "share", AT_MOST),
        ("nms.unexplained", "unexplained differences by NMS", "detections", AT_MOST),
        ("nms.explained", "explained differences by NMS", "share", AT_MOST),
    ),
    _RULER,
    replace(_REFERENCE, key="accuracy.reference_mAP", name="mAP", direction=AT_LEAST, limit="accuracy.{contract}.mAP", not_for=_AS_PUBLISHED),
    replace(
        _REFERENCE, key="accuracy.reference_mAP_most", name="mAP", direction=AT_MOST, limit="accuracy.{contract}.mAP_most",
        only_for=tuple(EMBEDDED), unless=f"{_REFERENCE.unless}; the right one is recorded for the embedded checkpoint alone",
    ),
    replace(
        _REFERENCE, key="accuracy.reference_mAP_as_published", name="mAP as published", direction=AT_LEAST,
        limit="accuracy.{contract}.mAP_as_published", only_for=_AS_PUBLISHED,
    ),
    *family(
        replace(
            _REFERENCE, data=Data.FEW, test="test_accuracy.py::test_the_reference_agrees_with_mmdet",
            unless="--onnx was given without the checkpoint that it was exported from",
        ),
        ("against_mmdet.unexplained", "unexplained differences from mmdet", "detections", AT_MOST),
        ("against_mmdet.explained", "explained differences from mmdet", "share", AT_MOST),
        ("against_mmdet.score", "usual difference of scores from mmdet", "score", AT_MOST),
        ("against_mmdet.box", "usual difference of boxes from mmdet", "px", AT_MOST),
    ),
    replace(
        _RULER, key="accuracy.ruler", on=_ACCURACY.on, data=Data.PAIRED, test=_ACCURACY.test,
        unless="the ruler was held to the detections of another batch size",
    ),
    replace(
        _ACCURACY, key="accuracy.mAP", name="mAP", unit="AP", direction=AT_LEAST, data=Data.WHOLE,
        limit="accuracy.{contract}.mAP", aipp_limit="accuracy_aipp.{contract}.mAP", not_for=_AS_PUBLISHED,
    ),
    replace(
        _ACCURACY, key="accuracy.mAP_as_published", name="mAP as published", unit="AP", direction=AT_LEAST, data=Data.WHOLE,
        limit="accuracy.{contract}.mAP_as_published", aipp_limit="accuracy_aipp.{contract}.mAP_as_published",
        only_for=_AS_PUBLISHED,
    ),
    *family(
        replace(_ACCURACY, limit="accuracy.{name}"),
        ("accuracy.not_counted_once", "pictures not counted once", "pictures", AT_MOST),
        ("accuracy.unlike_reference", "pictures unlike the reference's", "pictures", AT_MOST),
    ),
    *family(
        _ACCURACY,
        ("paired.loss", "mAP difference", "AP", AT_LEAST),
        ("paired.gain", "mAP difference", "AP", AT_MOST),
        ("paired.loss_size", "certain loss by size or IoU", "AP", AT_MOST),
        ("paired.gain_size", "certain gain by size or IoU", "AP", AT_MOST),
        ("paired.loss_class", "certain loss in a class", "AP", AT_MOST),
        ("paired.gain_class", "certain gain in a class", "AP", AT_MOST),
    ),
    _TIMED,
    replace(_TIMED, key="throughput.with_copies", name="throughput with copies"),
    replace(_TIMED, key="throughput.stream", name="throughput of the stream"),
    replace(_TIMED, key="throughput.explained", name="explained differences while timed", unit="share"),
    replace(
        _TIMED, key="throughput.unexplained", name="unexplained differences while timed", unit="detections",
        direction=AT_MOST, limit="consistency.{contract}.unexplained",
    ),
    *family(
        replace(_TIMED, limit="throughput.{name}"),
        ("throughput.unaccounted", "pictures of a rate not counted", "pictures", AT_MOST),
        ("throughput.busy_most", "compute time in the calls' time", "%", AT_MOST),
    ),
    replace(
        _TIMED, key="throughput.busy_least", name="compute time in the calls' time", unit="%", direction=AT_LEAST,
        limit="throughput.busy_least",
        unless="the emulator may compute for longer than the rate it plays",
    ),
    *family(
        replace(
            _TIMED, limit="throughput.{contract}.{chip}.{batch}.{name}",
            unless="nothing was published for this chip, batch size and way of compiling",
        ),
        ("published.slower", "throughput", "images/s", AT_LEAST),
        ("published.faster", "throughput", "images/s", AT_MOST),
    ),
    replace(
        _FALLEN, key="champion.slower", name="rate against champion", unit="%", direction=AT_LEAST,
        limit="rate_against_champion.slower", unless="no champion was accepted: accepted runs of the history judge",
    ),
    replace(
        _FALLEN, key="champion.slow_rounds", name="slow rounds against champion", unit="%", direction=AT_MOST,
        limit="rate_against_champion.slow_rounds", unless="no champion was accepted: nothing to compare with",
    ),
    *family(
        replace(_FALLEN, unless="a champion was accepted, and judges"),
        ("history.pure", "pure rate against history", "%", AT_LEAST),
        ("history.end_to_end", "end to end rate against history", "%", AT_LEAST),
        ("history.stream", "stream rate against history", "%", AT_LEAST),
    ),
    replace(_FALLEN, key="history.accepted", name="accepted throughput", unit="rates"),
    replace(
        _FALLEN, key="history.baseline", name="baseline", unit="accepted", direction=AT_LEAST,
        unless="only with --require-baseline",
    ),
    Gate(
        "throughput.lost", "throughput", "lost series", "series", AT_MOST, On.RUN, Data.TIMED,
        "test_throughput.py::test_every_accepted_series_was_measured", "throughput.lost",
    ),
    *family(
        _COST,
        ("cost.om_size", "OM size against champion", "%", AT_MOST),
        ("cost.bytes_per_picture", "bytes per picture against champion", "%", AT_MOST),
        ("cost.om_operators", "OM operators against champion", "operators", AT_MOST),
        ("cost.casts", "Cast operators against champion", "operators", AT_MOST),
        ("cost.transdata", "TransData operators against champion", "operators", AT_MOST),
        ("cost.ai_cpu", "AI CPU operators against champion", "operators", AT_MOST),
    ),
    replace(_COST, key="cost.recorded", name="OM size", unit="B", limit=""),
)  # fmt: skip
"""Every gate by its key, in reading order."""


def gate_called(key: str) -> Gate:
    """The gate with this key; `FcosError` for a measurement that carries none, or one that is not in the catalogue."""
    if gate := GATES.get(key):
        return gate
    raise FcosError(f"a measurement carries the key {key!r}, and no gate has it", "add it to fcos_lib/judge/gates.py")
