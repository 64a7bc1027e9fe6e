"""A layer is named by what fp16 explains of its error, not by how large the error is."""

import json
import math

import numpy as np
import pytest

from fcos_lib.diagnosis.layers import Errors, LayerError, LayerSearch, keep_dtype_list


def layer(name, error, expected):
    """One convolution with its ReLU."""
    return LayerError(name, "Conv+Relu", (name, f"{name}/Relu"), error, expected)


def test_the_first_layer_is_the_first_beyond_rounding():
    """A large error that rounding explains is none; the first that it does not explain is, even if a later one is worse."""
    search = LayerSearch((layer("a", 0.5, 0.4), layer("b", 0.01, 0.001), layer("c", 0.9, 0.001)), ("x.jpg",))
    assert search.first.name == "b"
    assert search.mixed_precision == ("b", "b/Relu")
    assert keep_dtype_list(search.mixed_precision) == "b\nb/Relu\n"


def test_nothing_is_named_in_a_healthy_network():
    """Then there is nothing to keep in float32 either."""
    search = LayerSearch((layer("a", 0.002, 0.001),), ("x.jpg",))
    assert search.first is None
    assert search.as_evidence()["first"] is None
    assert search.as_evidence()["mixed_precision"] == []


def test_what_is_not_finite_is_wrong_even_if_expected():
    """Where fp16 overflows, the layer needs float32; JSON has no infinity, and says null."""
    search = LayerSearch((layer("a", math.inf, math.inf),), ("x.jpg",))
    assert search.first.name == "a"
    assert json.loads(json.dumps(search.as_evidence(), allow_nan=False))["layers"][0]["ratio"] is None


def test_errors_add_up_over_pictures():
    """The length of all differences over the length of all of the reference."""
    errors = Errors()
    for value in (3.0, 4.0):
        reference = {"t": np.full((1, 2), value, np.float32)}
        errors.add(reference, {"t": reference["t"] * np.float32(1.1)}, {"t": reference["t"]})
    error, expected = errors.of("t")
    assert error == pytest.approx(0.1, rel=1e-5)
    assert expected == 0


def test_nan_makes_an_error_infinite():
    """And what is expected stays what it is."""
    errors, ones = Errors(), np.ones((1, 2), np.float32)
    errors.add({"t": ones}, {"t": np.array([[1, np.nan]], np.float32)}, {"t": ones})
    assert errors.of("t") == (math.inf, 0.0)


def test_tensors_of_other_shapes_are_refused():
    """numpy would broadcast them."""
    with pytest.raises(ValueError, match="the reference's is"):
        Errors().add({"t": np.ones((2, 2))}, {"t": np.ones((1, 2))}, {"t": np.ones((2, 2))})
