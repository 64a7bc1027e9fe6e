"""Promise: images/s per batch size are recorded in the recipe's sense, with what they were measured on."""

import os

import numpy as np
import pytest

from fcos_lib.measure.throughput import images_per_second

pytestmark = pytest.mark.throughput

ROUNDS, STAND_IN_ROUNDS = 20, 3  # the recipe's --loop; the emulator's speed is nobody's promise


def test_throughput_is_recorded(
    benchmark, candidate, contract, candidate_sample, om_model, batch_size, subject, device, judge
):
    """Pure inference on real pictures: 1000 x batch / mean compute time of the runtime, after one warm-up round."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.fail("throughput is measured alone: run pytest -m throughput without -n", pytrace=False)
    tensor = np.ascontiguousarray(
        np.resize(candidate_sample.tensor, contract.input_shape(batch_size, candidate.layout))
    )
    candidate.run(tensor)
    candidate.reset_timings()
    rounds = STAND_IN_ROUNDS if device.stand_in else ROUNDS
    benchmark.pedantic(candidate.run, args=(tensor,), rounds=rounds, iterations=1, warmup_rounds=0)
    measured = images_per_second(batch_size, candidate.compute_ms())
    benchmark.extra_info.update(
        {
            "images_per_second": round(measured.value, 3),
            "batch_size": batch_size,
            "contract": contract.name,
            "device": device.soc_version,
            "stand_in": device.stand_in,
            "input": candidate.layout.value,
            "precision": om_model.precision_mode,
            "om_sha256": om_model.artifact.files[om_model.path.name],
        }
    )
    judge("throughput", subject, (measured, None), stand_in=device.stand_in)
