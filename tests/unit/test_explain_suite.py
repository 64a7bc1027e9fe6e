"""A red gate of accuracy names the stage and the layer by itself, in the terminal and in the results, unless told not to."""

import json
import os

import pytest

from tests.gateproof.child import PLUG, ROOT
from tests.gateproof.defects.network import OM_ONLY
from tests.prepared import take_over


@pytest.fixture
def lost_layer(run, prepared, tmp_path, outer_environment):
    """The suite on an OM in which one convolution's weights are 0: what it printed, and its evidence by kind."""
    take_over(prepared, tmp_path / "artifacts", without=OM_ONLY)
    (tmp_path / "trace").mkdir()

    def call(*options):
        environ = {"FCOS_DEFECT": "layer_lost", "FCOS_DEFECT_TRACE": str(tmp_path / "trace")}
        outer_environment.update(environ)
        arguments = ("-k", "candidate_reaches", "--npu", "emulated", "--batch-sizes", "4", "--pictures", "24", *options)
        arguments += ("--assert=plain", "tests/acceptance")  # as `tests.gateproof.child` says
        result = run(*arguments, path=os.pathsep.join([str(PLUG), str(ROOT)]))
        document = json.loads((tmp_path / "artifacts" / "results" / "results.json").read_text())
        return result, {record["kind"]: record for record in document["evidence"]}

    return call


def test_a_drop_is_explained_where_it_is_reported(lost_layer):
    """The stage, how much it cost, and the layer; the same for the page."""
    result, evidence = lost_layer()
    assert result.returncode == 1, result.stdout + result.stderr
    assert "why it differs" in result.stdout, result.stdout
    assert "the first layer that differs: /backbone/layer2/layer2.1/conv2/Conv" in result.stdout, result.stdout
    assert evidence["ladder"]["subject"] == "batch4"
    stages = {stage["stage"]: stage["value"] for stage in evidence["ladder"]["data"]["stages"]}
    assert min(stages, key=stages.get) == "network", stages
    assert evidence["layers"]["data"]["first"] == "/backbone/layer2/layer2.1/conv2/Conv"


def test_the_cause_is_not_sought_with_no_explain(lost_layer):
    """The verdict is the same, and no further OM is compiled."""
    result, evidence = lost_layer("--no-explain")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "why it differs" not in result.stdout
    assert not {"ladder", "layers", "error_types"} & evidence.keys()
    assert "--no-explain" in result.stdout, "the command that runs it again leaves the option out"
