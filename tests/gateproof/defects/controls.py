"""Harmless changes, which must not turn a gate red; each is known to have changed something."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np

from tests.gateproof.case import PART, Case, Injection
from tests.gateproof.defects.device import OUTPUTS
from tests.gateproof.defects.network import COMPILE, OM_ONLY, edited, insert
from tests.gateproof.defects.pictures import copied_dataset, twins
from tests.gateproof.defects.throughput import RATE


def _permuted(model: Any, contract: Any) -> None:
    order = np.random.default_rng(3).permutation(contract.proposals)
    for tensor in ("nms/boxes_half", "nms/scores_half"):
        insert(model, tensor, ("Gather", order, {"axis": 1}))


def ties_exchanged(arrays: Any, *_: Any) -> Any:
    """Rows with equal scores in the other order."""
    arrays = [np.array(array) for array in arrays]
    dets = next(array for array in arrays if array.ndim == 3 and array.shape[2] == 5)
    labels = next(array for array in arrays if array.ndim == 2)
    for picture, kinds in zip(dets, labels, strict=True):
        rows = np.arange(len(picture))
        order = np.lexsort((-rows, -picture[:, 4]))
        picture[:], kinds[:] = picture[order], kinds[order]
    return arrays


def _narrow_labels(arrays: Any, *_: Any) -> Any:
    return [array.astype(np.int32) if array.ndim == 2 else array for array in arrays]


def other_leftovers(arrays: Any, *_: Any) -> Any:
    """Unused rows have another class, which means nothing."""
    arrays = [np.array(array) for array in arrays]
    dets = next(array for array in arrays if array.ndim == 3 and array.shape[2] == 5)
    labels = next(array for array in arrays if array.ndim == 2)
    labels[dets[..., 4] == 0] = 10_000
    return arrays


def stale_padding(original: Any, picture: Any, contract: Any, layout: Any, out: Any) -> None:
    """Unused slots of a batch keep whatever was there."""
    if picture is None:
        out[...] = np.random.default_rng(1).normal(0, 50, out.shape)
    else:
        original(picture, contract, layout, out)


def less_optimised(outputs: Any, session: Any, batch: Any) -> Any:
    """The reference with onnxruntime's basic optimisations, which round otherwise."""
    from fcos_lib.stream.sessions import check_outputs

    labels, dets = _basic(session).run(list(session.contract.output_names), {session.contract.input_name: batch})
    return check_outputs(labels, dets, session.contract, len(batch))


def less_optimised_proposals(result: Any, session: Any, batch: Any) -> Any:
    """The same with what reaches NMS."""
    names = [*session.contract.output_names, *session.contract.proposal_names]
    _, _, boxes, scores = _basic(session).run(names, {session.contract.input_name: batch})
    return less_optimised(None, session, batch), boxes, scores


@cache
def _basic(session: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(str(session.path), options, providers=["CPUExecutionProvider"])


def _five_workers(feed: Any, *arguments: Any, **named: Any) -> Any:
    return (feed, *arguments), {**named, "workers": 5}


def damaged_om(child: Any) -> tuple[str, ...]:
    """A bit of the kept OM has flipped."""
    for path in (child.artifacts / "om").rglob("*.om"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.unlink()
        path.write_bytes(data)
    return ()


def interrupted(child: Any) -> tuple[str, ...]:
    """An earlier run died in the middle of its evaluation."""
    before = child.run(marks="accuracy", defect="dies_in_the_middle")
    assert before.status not in (0, 1), before.output
    return ()


def dies(done: list[int]) -> Any:
    """The process ends as if killed when 20 batches are recorded."""

    def arguments(journal: Any, found: Any, maker: Any) -> Any:
        done.append(len(found))
        if len(done) > 20:
            os._exit(9)
        return (journal, found, maker), {}

    return arguments


def has_twins(document: dict[str, Any]) -> bool:
    """Were most of the 30 pairs found to be alike? Some pictures have no detections."""
    return any(
        len(verdict["measurement"]["details"].get("alike", ())) > 20
        for verdict in document["verdicts"]
        if verdict["measurement"]["name"] == "pictures not counted once"
    )


def was_resumed(document: dict[str, Any]) -> bool:
    """Did the evaluation find pictures in the journal?"""
    return any(
        verdict["measurement"]["details"].get("evaluation", {}).get("resumed", 0) > 0
        for verdict in document["verdicts"]
        if verdict["measurement"]["name"] == "pictures not counted once"
    )


def _built(*kinds: str) -> Any:
    def expect(document: dict[str, Any]) -> bool:
        return all(any(one["built"] for one in document["artifacts"] if one["kind"] == kind) for kind in kinds)

    return expect


CASES = (
    Case("warm_store", "a run with everything kept: fp16 rounding is all that differs", champion=True),
    Case("cold_store", "a run with nothing kept", without=("onnx", "onnx-proposals", "om", "om-json", "references"), options=PART,
         expect=_built("onnx", "om")),
    Case("proposals_permuted", "proposals reach NMS in another order", without=OM_ONLY, options=PART,
         injections=(Injection(COMPILE, "arguments", edited(_permuted)),)),
    Case("ties_exchanged", "equal scores come in the other order", options=PART, injections=(Injection(OUTPUTS, "result", ties_exchanged),)),
    Case("labels_int32", "labels come as int32", options=PART, injections=(Injection(OUTPUTS, "result", _narrow_labels),)),
    Case("other_leftovers", "unused rows have other classes", options=PART, injections=(Injection(OUTPUTS, "result", other_leftovers),)),
    Case("garbage_in_unused_slots", "unused slots of the last batch hold noise", options=("--pictures", "38"),
         injections=(Injection("fcos_lib.stream.decoder:prepare", "function", stale_padding),)),
    Case("batch_1_and_64", "batch sizes 1 and 64", marks="contract or consistency", batch_sizes="1,64", options=("--pictures", "64")),
    Case("one_thread", "one thread everywhere", options=PART,
         environment=tuple((name, "1") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"))),
    Case("reference_less_optimised", "onnxruntime optimises the reference less", without=("references",), options=PART,
         injections=(Injection("fcos_lib.stream.sessions:OnnxSession.run", "result", less_optimised),
         Injection("fcos_lib.stream.sessions:OnnxSession.run_and_proposals", "result", less_optimised_proposals),)),
    Case("more_decoders", "another number of processes decodes", injections=(
        Injection("fcos_lib.stream.feed:Feed.__init__", "arguments", _five_workers),), options=PART),
    Case("twins", "each picture is there twice, every other one with other metadata", arrange=twins,
         marks="accuracy or consistency", expect=has_twins),
    Case("dataset_elsewhere", "the dataset in another folder", arrange=copied_dataset, options=PART),
    Case("damaged_om", "a bit of the kept OM has flipped; it is built again", arrange=damaged_om, options=PART, expect=_built("om")),
    Case("interrupted", "an evaluation goes on where a killed run left it", arrange=interrupted, marks="accuracy", expect=was_resumed),
    Case("old_aclruntime", "aclruntime as of 2023", scenario="generation=old", options=PART),
    Case("same_speed", "another OM of the champion's speed", marks="throughput",
         scenario=f"{RATE},jitter=0.3,om_slower=0", without=OM_ONLY, champion=True),
    Case("noisy_clock", "another OM of the champion's speed, on a noisy device", marks="throughput",
         scenario=f"{RATE},jitter=0.8,om_slower=0", without=OM_ONLY, champion=True),
)  # fmt: skip
WRITERS = (
    Case("dies_in_the_middle", "the run before `interrupted`", injections=(
        Injection("fcos_lib.stream.journal:Journal.append", "arguments", dies([])),)),
)  # fmt: skip
