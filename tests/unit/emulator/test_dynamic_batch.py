"""One OM with profiles runs every batch size of `--dynamic_batch_size`, and says what it wants in the module's words."""

import numpy as np
import onnx
import pytest

from fcos_lib.emulator import om
from fcos_lib.emulator.processor import Model
from tests.unit.emulator.runtime import run, sessions

INPUT = "input:-1,3,16,16"
PROFILES = "4,1,2"


@pytest.fixture
def path(compile_om):
    """The detector with profiles for 1, 2 and 4 pictures."""
    return compile_om(input_shape=INPUT, dynamic_batch_size=PROFILES)


@pytest.fixture
def load(path, play):
    """Open a session on it, of either generation; it is freed in the end."""
    with sessions(play) as load:
        yield lambda generation="new": load(path, f"generation={generation}")


def test_the_profiles_are_in_the_om(path):
    """Rising, with -1 where the batch size goes, in inputs and outputs."""
    header = om.read_header(path)
    assert header.batches == (1, 2, 4)
    assert [desc.shape for desc in (*header.inputs, *header.outputs)] == [(-1, 3, 16, 16), (-1, 10), (-1, 10, 5)]


@pytest.mark.parametrize("generation", ["new", "old"])
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_every_profile_finds_what_an_om_of_its_own_finds(load, compile_om, generation, batch):
    """Bit for bit."""
    pictures = (np.random.default_rng(5).normal(size=(batch, 3, 16, 16)) * 40).astype(np.float32)
    session = load(generation)
    assert session.set_dynamic_batchsize(batch) == 0
    fixed = Model(compile_om(input_shape=f"input:{batch},3,16,16", output="fixed")).execute([pictures])
    for output, expected in zip(run(session, pictures), fixed, strict=True):
        np.testing.assert_array_equal(output, expected)


def test_sizes_are_those_of_the_largest_profile_and_of_the_chosen_one(load):
    """`size` never changes, `realsize` follows the profile; inputs keep their -1, outputs the largest profile's shape."""
    session = load()
    picture = 3 * 16 * 16 * 4
    (given,) = session.get_inputs()
    assert (given.shape, given.size, given.realsize) == ([-1, 3, 16, 16], 4 * picture, 4 * picture)
    session.set_dynamic_batchsize(2)
    (given,) = session.get_inputs()
    assert (given.shape, given.size, given.realsize) == ([-1, 3, 16, 16], 4 * picture, 2 * picture)
    described = [(desc.shape, desc.size, desc.realsize) for desc in session.get_outputs()]
    assert described == [([4, 10], 4 * 80, 2 * 80), ([4, 10, 5], 4 * 200, 2 * 200)]


def test_without_a_choice_the_largest_profile_runs(load):
    """As ACL does."""
    assert run(load(), np.zeros((4, 3, 16, 16), np.float32))[0].shape == (4, 10)


@pytest.mark.parametrize("generation", ["new", "old"])
def test_a_size_without_a_profile_is_refused(load, capfd, generation):
    """The profiles are listed on stdout; the one chosen before stays."""
    session = load(generation)
    session.set_dynamic_batchsize(1)
    with pytest.raises(RuntimeError) as caught:
        session.set_dynamic_batchsize(3)
    assert str(caught.value) == "[-1][ACL: general failure] "
    out = capfd.readouterr().out
    assert "the dymBatch parameter is not correct" in out
    assert "model has dynamic batch size:{[1][2][4]}, please set correct dynamic batch size" in out
    assert run(session, np.zeros((1, 3, 16, 16), np.float32))[0].shape == (1, 10)


def test_a_profile_is_checked_by_its_bytes(load, capfd):
    """Four pictures do not fit a profile of two."""
    session = load()
    session.set_dynamic_batchsize(2)
    with pytest.raises(RuntimeError, match="general failure"):
        run(session, np.zeros((4, 3, 16, 16), np.float32))
    assert "in size:12288 needsize:6144 not match" in capfd.readouterr().out


def test_a_static_choice_runs_the_largest_profile(load, capfd):
    """set_staticbatch() is accepted, and no warning about gears comes: that belongs to --dynamic_dims."""
    session = load()
    assert session.set_staticbatch() == 0
    assert run(session, np.zeros((4, 3, 16, 16), np.float32))[0].shape == (4, 10)
    assert "gear" not in capfd.readouterr().out


def test_a_graph_with_a_batch_size_of_its_own_is_refused(run_atc, command, detector):
    """Reshape to [2, ...] instead of [-1, ...] computes for two pictures only."""
    for tensor in detector.graph.initializer:
        if tensor.name in ("shape3", "shape4"):
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(np.array([2, *onnx.numpy_helper.to_array(tensor)[1:]]), tensor.name)
            )
    onnx.save(detector, "detector.onnx")
    changed = command | {"--input_shape": INPUT, "--dynamic_batch_size": PROFILES}
    status, out, _ = run_atc(*(f"{name}={value}" for name, value in changed.items()))
    assert status == 255
    assert "E10055: " in out
    assert "leaves only the batch size open" in out
