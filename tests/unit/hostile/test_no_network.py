"""A run asks nobody: with every socket but those of this machine forbidden, and in folders with odd names, gates judge as ever."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from fixtures.settings import EMBEDDED, EMBEDDED_CHECKPOINT
from tests.prepared import PICTURES

ROOT = Path(__file__).parents[3]

BLOCK = '''
"""Python imports this before anything else: no socket of this process, or of its children, leaves the machine."""
import os, socket, sys

def refuse(event, arguments):
    names = ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg")
    family = getattr(arguments[0], "family", None) if arguments and event in names else None
    asked = event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "urllib.Request")
    if asked or (event in names and family != socket.AF_UNIX):
        with open(os.environ["FCOS_TEST_ASKED"], "a") as file:
            file.write(f"{event} {arguments!r} {sys.argv[:3]}\\n")
        raise PermissionError(f"the network was asked for: {event}")

sys.addaudithook(refuse)
with open(os.environ["FCOS_TEST_ASKED"] + ".loaded", "a") as file:
    file.write("x")
'''


def test_gates_judge_without_a_network(suite, tmp_path):
    """Contract and accuracy at batch size 2, the emulated atc and the decoder processes included."""
    (tmp_path / "block").mkdir()
    (tmp_path / "block" / "sitecustomize.py").write_text(BLOCK)
    odd = tmp_path / "a b;'\"中文 $(touch pwned)&-"
    shutil.copytree(EMBEDDED, odd / "data")
    shutil.copyfile(EMBEDDED_CHECKPOINT, odd / "-x y.pth")
    command, environ = suite(
        "--npu=emulated", "--batch-sizes=2", "-m", "contract or accuracy", f"--dataset={odd / 'data'}", f"--checkpoint={odd / '-x y.pth'}",
        f"--references={odd / 'references'}", f"--pictures={PICTURES}", "tests/acceptance", path=tmp_path / "block",
    )  # fmt: skip
    asked = tmp_path / "asked"
    home = tmp_path / "home"
    home.mkdir()
    environ |= {"FCOS_TEST_ASKED": str(asked), "HOME": str(home)}
    for name in ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY"):
        environ.pop(name, None)
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=600, check=False)
    assert not asked.exists(), asked.read_text()
    assert done.returncode == 0, done.stdout
    assert len((tmp_path / "asked.loaded").read_text()) > 1, "nothing was forbidden"
    assert not list(tmp_path.rglob("pwned"))
    assert not [path for path in home.rglob("*") if path.is_file()], "something was written into the home folder"
    results = json.loads((tmp_path / "artifacts" / "results" / "results.json").read_text())
    outcomes = {entry["outcome"] for entry in results["verdicts"] if entry["limit"]}
    assert outcomes <= {"PASS", "STAND-IN"}, f"not green without a network: {outcomes}"
    assert {entry["promise"] for entry in results["verdicts"]} == {"contract", "accuracy"}


def test_onnxruntime_reports_to_nobody(tmp_path, outer_environment):
    """Its native code would send what it counts past Python's sockets; switched off, it does not even make itself an id."""
    environ = {**outer_environment, "HOME": str(tmp_path)}
    for name in ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY"):
        environ.pop(name, None)
    program = "from fcos_lib.stream.sessions import OnnxSession; import onnxruntime"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environ, check=True, timeout=120)
    assert not list(tmp_path.rglob("*"))
