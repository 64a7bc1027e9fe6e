"""The embedded default's network and graphs, built once for the tests of this folder."""

import pytest

from fcos_lib.contract import SHAPES
from fixtures.settings import EMBEDDED_CHECKPOINT


@pytest.fixture(scope="session")
def detector():
    """mmdet's network with the embedded weights."""
    from fcos_lib.model.detector import load_detector

    return load_detector(SHAPES, EMBEDDED_CHECKPOINT)


@pytest.fixture(scope="session")
def trunk(detector):
    """The trunk ONNX."""
    from fcos_lib.model.export import export_trunk

    return export_trunk(detector, SHAPES)


@pytest.fixture(scope="session")
def session(trunk, tmp_path_factory):
    """onnxruntime on the portable ending."""
    import onnx

    from fcos_lib.model.endings import portable
    from fcos_lib.stream.sessions import OnnxSession

    path = tmp_path_factory.mktemp("onnx") / "portable.onnx"
    onnx.save(portable(trunk, SHAPES), path)
    return OnnxSession(path, SHAPES)
