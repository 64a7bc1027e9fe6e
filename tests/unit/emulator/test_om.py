"""An OM of the emulator says what it is, and is refused when anything about it is wrong."""

import pytest

from fcos_lib.emulator import om
from fcos_lib.errors import SessionError


def test_the_first_line_says_stand_in(compile_om):
    """`head -1` is enough to see that no NPU can run it."""
    assert b"STAND-IN" in compile_om().read_bytes().splitlines()[0]


def test_a_written_om_is_read_back(compile_om, tmp_path):
    """Header and graphs survive the file."""
    first = om.read(compile_om())
    om.write(tmp_path / "copy.om", first)
    assert om.read(tmp_path / "copy.om") == first


def test_the_header_keeps_what_recognises_a_stale_om(compile_om):
    """Command line, chip, precision, batch size and the label of the version."""
    header = om.read(compile_om()).header
    assert (header.soc_version, header.precision_mode, header.inputs[0].shape[0]) == ("Ascend310P3", "force_fp16", 2)
    assert "--model=detector.onnx" in header.command
    assert "STAND-IN" in header.atc_version


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[: len(data) // 2], "cut short"),
        (lambda data: data[:-1] + b"?", "sha256"),
        (lambda data: data[:60], "header"),
        (lambda data: om.MAGIC + b"[" * 100_000 + b"\n", "header"),
    ],
    ids=["half", "last_byte", "half_header", "deep"],
)
def test_a_damaged_om_is_refused(compile_om, damage, words):
    """Whatever is wrong is said in one sentence."""
    path = compile_om()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SessionError) as caught:
        om.read(path)
    assert words in caught.value.found


def test_a_missing_om_is_refused(tmp_path):
    """No file, no traceback of the operating system."""
    with pytest.raises(SessionError):
        om.read(tmp_path / "none.om")
