"""An OM is bytes to us: what it says of itself is text, whoever wrote it, and the emulator runs its own only."""

import os

import pytest

from fcos_lib.ascend.atc import parse_om_info
from fcos_lib.ascend.provenance import batch_sizes, command_options
from fcos_lib.emulator import om
from fcos_lib.errors import SessionError

HEADS = {
    "empty": b"",
    "pickle": b"\x80\x04cposix\nsystem\n(S'touch pwned'\ntR.",
    "real": b"IMOD" + bytes(252),
    "magic-alone": om.MAGIC,
    "no-json": om.MAGIC + b"x\n",
    "a-list": om.MAGIC + b"[]\n",
    "no-fields": om.MAGIC + b"{}\n",
    "foreign-fields": om.MAGIC + b'{"before_bytes": 0, "after_bytes": 0, "sha256": "", "__class__": "os.system"}\n',
    "garbage": om.MAGIC + bytes(range(256)) * 40,
}


@pytest.mark.parametrize("content", HEADS.values(), ids=HEADS)
def test_what_is_no_om_of_the_emulator_is_refused(tmp_path, monkeypatch, content):
    """One error, and nothing in it is run."""
    (tmp_path / "x.om").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    for read in (om.read, om.read_header):
        with pytest.raises(SessionError, match=r"no OM of the emulator|header .* is damaged"):
            read(tmp_path / "x.om")
    assert os.listdir(tmp_path) == ["x.om"]


@pytest.mark.parametrize(
    "line",
    [
        "atc --model='",
        "atc --input_shape=x:" + "9" * 5000 + ",3",
        "atc --input_shape=",
        "atc --dynamic_batch_size=;rm -rf /",
        "",
        "\x1b[2J",
    ],
)
def test_a_hostile_command_line_in_an_om_is_text(line):
    """It was compiled by somebody, with whatever they typed; nothing of it is typed again."""
    info = parse_om_info(f"Original Atc command line: {line}\nsystem info: soc_version[Ascend310P3]\n")
    assert isinstance(batch_sizes(command_options(info["command_line"])), tuple)
