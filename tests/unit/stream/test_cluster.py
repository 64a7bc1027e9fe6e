"""A cluster of real nodes and processes on the loopback: whatever dies, joins late or differs, the bits are an undisturbed run's."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from fcos_lib.emulator.install import install
from fcos_lib.errors import UsageError
from fcos_lib.stream import cluster as cluster_module
from fcos_lib.stream import cluster_address
from fcos_lib.stream.cluster import join
from fcos_lib.stream.feed import batches, seen_in
from fcos_lib.stream.letterbox import in_picture
from tests.unit.stream.cluster_server import HEAD, TOKEN, answer_of, environment, free_port, served
from tests.unit.stream.journal_worker import BATCH, ROOT, TINY, FakeSession, pictures_of_the_set, until

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed")
FIRST, SECOND, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"


@pytest.fixture(scope="module")
def outer():
    """The environment without what other tests or shells say about Ray and CANN."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "ASCEND", "FCOS", "PYTEST_"))
    }


@pytest.fixture(scope="module")
def ask(outer, tmp_path_factory):
    """The cluster's server, with two nodes of an NPU each; the only one that is started here."""
    log = tmp_path_factory.mktemp("cluster") / "log"
    with served(outer, log) as ask:
        for address in (FIRST, SECOND):
            ask("add", address, 1)
        yield ask


@pytest.fixture
def node(ask):
    """Adds nodes for one test."""
    added = []

    def add(address, npus, **how):
        added.append(address)
        return ask("add", address, npus, **how)

    yield add
    for address in added:
        ask("remove", address)


@pytest.fixture(scope="module")
def expected():
    """What one process finds that nobody disturbs."""
    session, detections = FakeSession(), {}
    for batch in batches(pictures_of_the_set(60), TINY, BATCH):
        seen = seen_in(batch, session.run(batch.tensor))
        detections |= {
            number: in_picture(seen[number], letterbox) for number, letterbox in zip(seen, batch.places, strict=True)
        }
    return answer_of(detections)


def hosts(result):
    """The nodes behind the shards."""
    return {re.search(r"\(([\d.]+)\)$", maker)[1] for maker in result["shards"]}


def test_two_nodes_give_the_bits_of_one_process(ask, tmp_path, expected):
    """And each shard says who answered it: logical and physical id, and host."""
    result = ask("evaluate", tmp_path / "journal", how={address: {"seconds": 0.8} for address in (FIRST, SECOND)})
    assert result["answer"] == expected, result
    assert hosts(result) == {FIRST, SECOND}
    assert all(
        re.fullmatch(r"NPU 0 \(0/0 in npu-smi\) on \S+ \(127\.0\.0\.[23]\)", maker) for maker in result["shards"]
    )
    assert sorted(shard for shards in result["shards"].values() for shard in shards) == list(range(7))
    assert result["notes"] == []


def test_a_worker_that_is_killed_is_begun_again_elsewhere(ask, tmp_path, expected):
    """Each process of one node dies over its first shard; those that follow it there as well."""
    result = ask("evaluate", tmp_path / "journal", how={FIRST: {"die": True, "seconds": 0.2}})
    assert result["answer"] == expected, result
    assert hosts(result) == {SECOND}
    assert any("was lost" in note and FIRST in note for note in result["notes"]), result["notes"]


def test_a_node_whose_raylet_is_killed_is_done_without(ask, node, tmp_path, expected):
    """kill -9 in the middle of the run: its shards go to the others."""
    node(THIRD, 2)
    slow = {address: {"seconds": 0.4} for address in (FIRST, SECOND, THIRD)}
    result = ask("evaluate", tmp_path / "journal", how=slow, at=[2, "kill_raylet", [THIRD]])
    assert result["answer"] == expected, result
    assert result["seconds"] < 60, f"the run took {result['seconds']:.0f} s to notice"


def test_a_node_that_joins_late_takes_its_share(ask, node, tmp_path, expected):
    """It is looked for while the others are at work."""
    slow = {FIRST: {"seconds": 4}, SECOND: {"seconds": 4}}
    result = ask("evaluate", tmp_path / "journal", how=slow, at=[0, "add", ["127.0.0.5", 1]])
    ask("remove", "127.0.0.5")
    assert result["answer"] == expected, result
    assert "127.0.0.5" in hosts(result), result["shards"]


def test_a_driver_that_is_killed_is_gone_on_with(ask, outer, tmp_path, expected):
    """kill -9 in the middle: the next run has what was recorded, and devices that nobody holds any more."""
    folder = tmp_path / "journal"
    address = ask("where")
    command = [sys.executable, "-m", "tests.unit.stream.cluster_server", address, str(folder), "60"]
    driver = subprocess.Popen(
        command, cwd=ROOT, env=outer | environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: len(list(folder.glob("shard*"))) >= 2, seconds=60)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    result = ask("evaluate", folder)
    assert result["answer"] == expected, result
    assert result["resumed"] >= 9, f"{result['resumed']} pictures were gone on with, and two shards have 18"
    assert result["inferred"] + result["resumed"] == 60


def test_an_object_store_that_is_too_small_for_the_om_is_said(ask, tmp_path):
    """By node, with both sizes and the option of ray start."""
    result = ask("evaluate", tmp_path / "journal", padding=90 << 20)
    assert result["error"] == "DeviceError", result
    assert re.search(r"object store of \S+ \(127\.0\.0\.2\) has 84 MB, too little for an OM of 94 MB", result["found"])
    assert "--object-store-memory" in result["advice"]


@pytest.fixture(scope="module")
def artifacts(exported, tmp_path_factory):
    """Where the ONNX is ready and the OM will be."""
    folder = tmp_path_factory.mktemp("artifacts")
    shutil.copytree(exported / "onnx", folder / "onnx")
    return folder


def test_a_node_with_another_cann_a_device_that_lies_and_one_that_hangs(ask, node, artifacts, tmp_path):
    """Three nodes with a fault each, and one without: each is named with its reason, and the bits are the good one's."""
    root = install(tmp_path / "other")
    for name in ("ascend-toolkit/latest/version.cfg", "ascend-toolkit/latest/opp/version.info"):
        path = root / name
        path.write_text(path.read_text().replace("8.0.0-STAND-IN", "8.1.0-STAND-IN"))
    other = {"ASCEND_TOOLKIT_HOME": str(root / "ascend-toolkit" / "latest"), "ASCEND_DRIVER_PATH": str(root / "driver")}
    other |= {"PATH": f"{root / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": f"{root / 'python'}:{ROOT}"}
    for address in (FIRST, SECOND):
        ask("remove", address)
    try:
        alone = ask("evaluate_alone", artifacts)
        for address, env in (
            ("127.0.0.6", {"FCOS_EMULATOR": "rate=8"}),
            ("127.0.0.7", other),
            ("127.0.0.8", {"FCOS_EMULATOR": "rate=8,run=wrong:2"}),
            ("127.0.0.9", {"FCOS_EMULATOR": "rate=8,run=hang:2"}),
        ):
            node(address, 1, env=env)
        result = ask("evaluate_really", tmp_path / "all", artifacts)
    finally:
        for address in (FIRST, SECOND):
            ask("add", address, 1)
    assert result.get("answer") == alone, result
    notes = "\n".join(result["notes"])
    assert re.search(
        r"NPU 0 on \S+ \(127\.0\.0\.7\) is left out: CANN 8\.1\.0-STAND-IN\.\w+ there, 8\.0\.0-STAND-IN", notes
    ), notes
    assert "no longer computes what it computed" in notes, notes
    assert re.search(r"\(127\.0\.0\.9\) (was lost|did not answer in time)", notes), notes
    assert "127.0.0.6" in hosts(result), result["shards"]
    assert not hosts(result) & {"127.0.0.7", "127.0.0.8"}, result["shards"]


def said(outer, *code, **environ):
    """What a process says that joins a cluster; each refusal has to come within seconds."""
    program = "\n".join(
        ["from fcos_lib.errors import FcosError", *code, "from fcos_lib.stream.cluster import join", "import sys", "try:",
         "    join(sys.argv[1])", "except FcosError as error:", "    print(type(error).__name__, error)"]
    )  # fmt: skip

    def join_it(address):
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", program, address], cwd=ROOT, env=outer | environ, capture_output=True, text=True, timeout=60, check=False
        )  # fmt: skip
        return done.stdout + done.stderr[-500:], time.monotonic() - started

    return join_it


def test_ray_of_another_version_is_said(ask, outer):
    """Both versions, as Ray says them."""
    words, _ = said(outer, "import ray", "ray.__version__ = '2.61.0'", **environment())(ask("where"))
    assert words.startswith("UsageError the cluster at 127.0.0.1:"), words
    assert "another version of Ray or Python" in words, words
    assert "2.60.0" in words, words
    assert "2.61.0" in words, words


def test_a_wrong_token_is_refused(ask, outer):
    """The cluster takes nobody else."""
    words, seconds = said(outer, **environment() | {"RAY_AUTH_TOKEN": TOKEN[::-1]})(ask("where"))
    assert words.startswith("UsageError the cluster at 127.0.0.1:"), words
    assert "does not take this token" in words, words
    assert seconds < 20, f"it took {seconds:.0f} s to say"


def test_a_cluster_without_a_token_is_refused(ask, outer, tmp_path, monkeypatch):
    """No home, no variable: how to make one is said."""
    environ = environment() | {"HOME": str(tmp_path)}
    del environ["RAY_AUTH_TOKEN"]
    words, seconds = said(outer, **environ)(ask("where"))
    assert "there is no token for the cluster" in words, words
    assert "ray get-auth-token --generate" in words, words
    assert seconds < 20, f"it took {seconds:.0f} s to say"


def test_a_cluster_that_asks_nobody_for_a_token_is_refused(monkeypatch):
    """Whoever reaches it can run code on it: nothing is unpickled from there."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setattr(cluster_address, "_PROBE", "")
    monkeypatch.setattr(cluster_module, "check_answers", lambda *_: None)
    with pytest.raises(UsageError, match="asks nobody for a token") as refused:
        join("10.1.2.3:6379")
    assert "RAY_AUTH_MODE=token" in refused.value.advice
    assert "ray" not in sys.modules, "Ray has been asked before"


@pytest.mark.parametrize(
    "address", [f"{HEAD}:{free_port()}", "no-such-host.invalid:6379"], ids=["a free port", "no host"]
)
def test_no_cluster_is_said_within_seconds(address):
    """With the address."""
    started = time.monotonic()
    with pytest.raises(UsageError, match=f"there is no cluster at {address}"):
        join(address)
    assert time.monotonic() - started < 10, f"it took {time.monotonic() - started:.1f} s to say"


def test_auto_without_a_cluster_is_said(monkeypatch, tmp_path):
    """And what else there is."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(UsageError, match="found no Ray on this host") as refused:
        join("auto")
    assert "ray start --head" in refused.value.advice


def test_an_old_ray_is_refused(monkeypatch):
    """It has no tokens."""
    monkeypatch.setattr(cluster_address.importlib.metadata, "version", lambda name: "2.9.3")
    with pytest.raises(UsageError, match=r"Ray 2\.9\.3 is installed, and --cluster needs 2\.60 or later"):
        join("local")
