"""The verb `evaluate`: the mAP of a result folder, judged by its limits; of a result file of any detector, the numbers alone."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path

from fcos_lib.cli.compare import evaluate_detections
from fcos_lib.cli.shared import chosen_dataset
from fcos_lib.cli.terminal import say
from fcos_lib.errors import UsageError
from fcos_lib.files import read_plain
from fcos_lib.judge.gate import Scope
from fcos_lib.judge.verdict import Outcome, Verdict, judge_gate, paragraph
from fcos_lib.measure.coco.as_published import as_published
from fcos_lib.measure.coco.metrics import evaluate as coco_metrics
from fcos_lib.measure.coco.ruler import Readings, Ruler
from fcos_lib.measure.coco.truth import read_truth
from fcos_lib.options.option import typed_path
from fcos_lib.recipe.ais_bench import summary_path
from fcos_lib.recipe.result_folder import read_results
from fcos_lib.records import plain_json

_SUMMARY_LIMIT = 64 << 20
"""Bytes of a summary that is read."""


def evaluate(args: Namespace) -> int:
    """Print COCO's twelve numbers, mAP as published, and the verdicts; 1 unless every limit is held, NO VERDICT included.

    Of a result file of any detector: the numbers with intervals, and no verdicts.
    """
    if args.detections is not None:
        return evaluate_detections(args)
    if args.dataset is None:
        raise UsageError("--results needs --dataset", "pass the COCO folder of the pictures that were inferred")
    if args.annotations is not None or args.ruler or args.format != "text":
        raise UsageError(
            "--annotations, --ruler and --format belong to --detections",
            "leave them out: --results is judged by --dataset, always with pycocotools beside",
        )
    dataset = chosen_dataset(args)
    contract = dataset.contract
    results = read_results(args.results, dataset, contract)
    stand_in, origin = _origin(args.results)
    print(f"results   {args.results}: {results.sentence()}")
    print(f"computed  {origin}")
    measured = coco_metrics(dataset, contract, results.detections)
    published = as_published(dataset, read_truth(dataset), contract, results.detections)
    numbers = measured.details["numbers"]
    for names in (list(numbers)[:6], list(numbers)[6:]):
        print("  ".join(f"{name:>5} {numbers[name]:6.3f}" for name in names))
    print(f"mAP as published, by the recipe's arithmetic: {published.value:.4f} ({published.where})")
    readings = Readings(Ruler(dataset.annotations, contract, dataset.naming.classes))
    readings.read_evaluation("of the results", measured, results.detections)
    verdicts: list[Verdict] = []
    for each in (readings.measurement("accuracy.ruler"), measured, published):
        if all(verdict.green for verdict in verdicts):  # nothing is judged by a ruler that is off
            subject = args.results.resolve().name
            verdicts.append(
                judge_gate(each, Scope(contract.name, like=contract.limits_of), subject, stand_in=stand_in is True)
            )
    again = [
        "python",
        "-m",
        "fcos_lib",
        "evaluate",
        "--results",
        typed_path(args.results),
        "--dataset",
        typed_path(args.dataset),
    ]
    again += [f"--contract={args.contract}"] * bool(args.contract) + [f"--category={pair}" for pair in args.category]
    judged = [verdict for verdict in verdicts if verdict.limit or verdict.lacks]
    for verdict in judged:
        say(paragraph(verdict, again=shlex.join(again)))
    if any(verdict.outcome is Outcome.PASS for verdict in judged[1:]) and stand_in is None:  # the ruler needs no NPU
        print("  counts    only if an NPU computed these files, which they do not say")
    return 0 if judged and all(verdict.green for verdict in judged) else 1


def _origin(folder: Path) -> tuple[bool | None, str]:
    """True if the emulator made the files, None if nobody knows, and what says so. Only `infer`'s summary tells."""
    path = summary_path(folder.resolve())
    try:
        if path.stat().st_size > _SUMMARY_LIMIT:
            return None, f"by an unknown device ({path.name} is too large to be read)"
        content = plain_json(read_plain(path, _SUMMARY_LIMIT))
    except FileNotFoundError:
        return None, "by an unknown device: the files do not say, and no summary is beside the folder"
    except (OSError, ValueError):
        return None, f"by an unknown device ({path.name} cannot be read)"
    stand_in = content.get("stand_in") if isinstance(content, dict) else None
    if stand_in is True:
        return True, f"by the emulator, says {path.name}: STAND-IN"
    if stand_in is False:
        return False, f"on an NPU, says {path.name}"
    return None, f"by an unknown device: {path.name} is not of fcos_lib's infer and does not say"
