"""atc is given the network for one batch size where there is one, and everything else as it is."""

import onnx
import pytest
from onnx import helper

from fcos_lib.artifacts import ASCEND, FIXED_BATCH
from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.artifacts.om import om_artifact, onnx_for_atc
from fcos_lib.ascend.atc_command import AtcOptions
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.contract import SHAPES
from fcos_lib.files import sha256_of
from fcos_lib.model.npu_operators import tensor_shape
from fcos_lib.store.artifacts import Store
from fixtures.settings import EMBEDDED_CHECKPOINT

FOUR = AtcOptions("Ascend310P3", 4)
PROFILES = AtcOptions("Ascend310P3", dynamic_batches=(1, 4))


@pytest.fixture(scope="module")
def models(exported):
    """The embedded model's two endings."""
    return onnx_artifact(Store(exported), SHAPES, EMBEDDED_CHECKPOINT)


def test_one_batch_size_has_a_graph_of_its_own(models, tmp_path):
    """Written beside the OM; the one for all batch sizes stays as it was."""
    given = onnx_for_atc(models.path / ASCEND, tmp_path, FOUR)
    assert given == tmp_path / FIXED_BATCH
    assert tensor_shape(onnx.load(given).graph.input[0]) == [4, 3, 256, 427]
    assert sha256_of(models.path / ASCEND) == models.files[ASCEND]
    assert onnx_for_atc(given, tmp_path, FOUR) == given, "a graph that is fixed is fixed again"


def test_profiles_need_the_open_graph(models, tmp_path):
    """And what an earlier OM in the same folder was made of does not lie beside the new one."""
    onnx_for_atc(models.path / ASCEND, tmp_path, FOUR)
    assert onnx_for_atc(models.path / ASCEND, tmp_path, PROFILES) == models.path / ASCEND
    assert not list(tmp_path.iterdir())


def test_what_was_made_elsewhere_is_what_is_compiled(models, tmp_path):
    """An ONNX without our mark is the subject of the test, and a damaged one is atc's to complain of."""
    model = onnx.load(models.path / ASCEND)
    helper.set_model_props(model, {})
    onnx.save(model, tmp_path / "elsewhere.onnx")
    (tmp_path / "damaged.onnx").write_bytes(b"onnx")
    for name in ("elsewhere.onnx", "damaged.onnx", "absent.onnx"):
        assert onnx_for_atc(tmp_path / name, tmp_path, FOUR) == tmp_path / name
    assert not (tmp_path / FIXED_BATCH).exists()


def test_an_om_is_kept_with_the_graph_that_it_was_made_of(models, tmp_path):
    """Its provenance names the ONNX for all batch sizes, by which `--om` knows what belongs together."""
    atc = tmp_path / "atc"
    atc.write_text(
        '#!/bin/sh\nfor a; do case "$a" in --output=*) out="${a#--output=}";; --model=*) model="${a#--model=}";; esac; done\n'
        'cp "$model" "$out.om"\n'
    )
    atc.chmod(0o755)
    made = om_artifact(Store(tmp_path / "store"), models, SHAPES, Toolkit(atc=atc), FOUR)
    assert sorted(made.files) == [FIXED_BATCH, "atc.log", "model.om"]
    assert made.files["model.om"] == made.files[FIXED_BATCH], "atc was given another graph"
    assert made.provenance["onnx"] == models.files[ASCEND]
