"""How far above rounding a layer has to be before it is named: what `[diagnosis.layer_error]` of limits.toml rests on.

Run from the repository's root: `python -m benchmarks.layer_search`. Takes a minute on 2 cores. A healthy network is rounded as
the emulator rounds it, and its largest ratio of error to expected error is printed; then the weights of one convolution of the
backbone after the other are scaled, and the smallest ratio that such a layer has itself.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import onnx
import onnxruntime
from onnx import numpy_helper

from fcos_lib.artifacts import PORTABLE
from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.contract import SHAPES
from fcos_lib.diagnosis.blame import threshold
from fcos_lib.diagnosis.layers import Errors
from fcos_lib.emulator.precision import round_to_half
from fcos_lib.model.taps import rounded, tapped_trunk, taps_of
from fcos_lib.options.option import path
from fcos_lib.store.artifacts import Store
from fcos_lib.stream.dataset import open_dataset
from fcos_lib.stream.feed import load_batch

EMBEDDED = Path(__file__).parents[1] / "fixtures" / "shapes"


def main() -> None:
    """Print the healthy ratio, and the smallest that a scaled layer has in itself."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.02, help="what weights are multiplied by (default: 1.02)")
    parser.add_argument("--pictures", type=int, default=4, help="(default: 4)")
    parser.add_argument("--artifacts", type=path, default=Path(".artifacts"))
    args = parser.parse_args()
    model = onnx.load(onnx_artifact(Store(args.artifacts), SHAPES, EMBEDDED / "fcos_shapes.pth").path / PORTABLE)
    taps = taps_of(model, SHAPES)
    names = [tap.tensor for tap in taps]
    pictures = open_dataset(EMBEDDED).pictures
    step = max(1, len(pictures) // args.pictures)
    batch = load_batch(pictures[::step][: args.pictures], SHAPES, args.pictures).tensor

    def run(part: onnx.ModelProto) -> dict[str, object]:
        session = onnxruntime.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])
        return dict(zip(names, session.run(names, {SHAPES.input_name: batch}), strict=True))

    exact = tapped_trunk(model, names)
    reference, expected = run(exact), run(rounded(exact, taps))

    def ratios(candidate: onnx.ModelProto) -> list[float]:
        errors = Errors()
        errors.add(reference, run(round_to_half(tapped_trunk(candidate, names))), expected)
        return [error / rounding for error, rounding in map(errors.of, names)]

    most = threshold("layer_error").bound
    print(f"healthy: largest ratio {max(ratios(model)):.2f} of {len(taps)} layers; named from {most:g}")
    lowest, wrong = math.inf, []
    for node in [node for node in model.graph.node if node.op_type == "Conv" and "backbone" in node.name]:
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        tensor = next(tensor for tensor in changed.graph.initializer if tensor.name == node.input[1])
        tensor.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(tensor) * args.scale).astype("f4"), tensor.name))
        found = ratios(changed)
        own = next(index for index, tap in enumerate(taps) if node.name in tap.nodes)
        first = next((index for index, ratio in enumerate(found) if ratio > most), None)
        lowest = min(lowest, found[own])
        wrong += [node.name] * (first != own)
    print(f"weights x {args.scale:g}: smallest ratio of the layer itself {lowest:.2f}; not named: {wrong or 'none'}")


if __name__ == "__main__":
    main()
