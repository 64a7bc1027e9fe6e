"""A config that computes is run by mmengine apart from everything, after asking, or not at all."""

import io
import socket

import pytest

from fcos_lib.cli.main import main
from fcos_lib.errors import UsageError
from fcos_lib.model import config_run
from fcos_lib.model.config_parts import plain
from fcos_lib.model.config_run import can_run_apart, run_config
from tests.unit.model.test_config_contract import PLAIN, written

COMPUTED = PLAIN.replace("num_classes=80", "num_classes=len(NAMES)").replace(
    "'CocoDataset',", "'CocoDataset', metainfo=dict(classes=[name for name in NAMES]),"
)
# mmengine takes a config that imports for one of its other kind, and does not compute it.
ATTEMPTS = """
os, socket = __import__("os"), __import__("socket")
print('noise on stdout')
NAMES = ('cat', 'dog')
seen = sorted(os.environ)
try:
    socket.create_connection(('127.0.0.1', PORT), 3)
    reached = True
except OSError:
    reached = False
del os, socket
"""


@pytest.fixture
def apart():
    """Skips nothing: where no process can be set apart, that is what has to be said."""
    return not can_run_apart()


def run_or_refusal(apart, path, **told):
    """What a config is as it ran; None where it is refused because nothing can be set apart here."""
    if apart:
        return plain(run_config(path, **told))
    with pytest.raises(UsageError, match="cannot be run apart"):
        run_config(path, **told)
    return None


def test_it_sees_no_network_and_no_variable(apart, tmp_path, monkeypatch):
    """A server of this machine is out of reach; what it prints is no answer."""
    monkeypatch.setenv("SECRET_TOKEN", "x")
    with socket.create_server(("127.0.0.1", 0)) as server:
        text = ATTEMPTS.replace("PORT", str(server.getsockname()[1])) + COMPUTED
        variables = run_or_refusal(apart, written(tmp_path, text))
    if variables:
        assert variables["reached"] is False
        assert "SECRET_TOKEN" not in variables["seen"]
        assert variables["model"]["bbox_head"]["num_classes"] == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("while True: pass\n", "ran for more than 4 s and was ended"),
        ("x = 'a' * (5 << 30)\n", "failed when it was run.*MemoryError"),
        ("__import__('os')._exit(3)\n", "failed when it was run, status 3"),
        ("x = float('nan')\n", "failed when it was run.*ValueError"),
        ("x = 1\nfor i in range(900): x = [x]\n", "did not give plain values|failed when it was run"),
        ("open('large', 'w').write('a' * (2 << 20))\n", "failed when it was run"),
    ],
    ids=["endless", "memory", "exit", "nan", "deep", "file"],
)
def test_it_has_an_end(text, reason, apart, tmp_path):
    """Time, memory, files and the answer are bounded."""
    path = written(tmp_path, text)
    if apart:
        with pytest.raises(UsageError, match=reason):
            run_config(path, 4.0 if "while" in text else 60.0)


def test_nothing_is_run_where_nothing_can_be_set_apart(tmp_path, monkeypatch):
    """Not even a little."""
    marker = tmp_path / "marker"
    path = written(tmp_path, f"open({str(marker)!r}, 'w')\n")
    for command in (("no-such-program",), ("false",)):
        monkeypatch.setattr(config_run, "_APART", command)
        with pytest.raises(UsageError, match="cannot be run apart from this machine"):
            run_config(path)
    assert not marker.exists()


def test_the_verb_asks_first(apart, tmp_path, monkeypatch, capsys):
    """Without a terminal it needs --yes; any other answer than yes runs nothing."""
    text = COMPUTED.replace("NAMES", "NAMES") + "\n"
    path = written(tmp_path, "NAMES = tuple(name for name in ('cat', 'dog'))\n" + text)
    assert main(["contract", str(path)]) == 3
    assert "line 1: what 'for' does is computed" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert main(["contract", str(path), "--run-config"]) == 3
    assert "There is no terminal to ask on" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "no")
    assert main(["contract", str(path), "--run-config"]) == 3
    assert "the config was not run" in capsys.readouterr().err
    status = main(["contract", str(path), "--run-config", "--yes"])
    captured = capsys.readouterr()
    if apart:
        assert status == 0
        assert 'classes = ["cat", "dog"]  # mine.py, as it ran' in captured.out
    else:
        assert "cannot be run apart" in captured.err
