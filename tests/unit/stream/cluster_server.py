"""A process that starts a cluster of real nodes on the loopback, evaluates on it, and does to its nodes what a test asks for.

As a script it answers requests, a line of JSON each, so that one start of a cluster serves all tests: importing Ray and
starting its head take seconds. `FakeWorker` is what the nodes run where the device itself is not what is tested.
"""

import concurrent.futures
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import uuid
from contextlib import closing, contextmanager
from pathlib import Path

from tests.unit.stream.journal_worker import BATCH, FINGERPRINT, ROOT, TINY, FakeSession, pictures_of_the_set

TOKEN = "0123456789abcdef" * 4
HEAD = "127.0.0.1"
STORE_MB = 80
REAL_BATCH = 4


class FakeWorker:
    """A device that finds what every bit of a picture says; the OM is JSON that says how it behaves, by its node's address."""

    def __init__(self):
        import queue

        self._turn = queue.Queue(1)
        self._turn.put(None)

    def start(self, job, om):
        """Ready at once."""
        from fcos_lib.stream.cluster import this_host
        from fcos_lib.stream.dispatch_devices import Ready
        from fcos_lib.stream.journal_shards import Maker

        self._host, self._job = this_host(), job
        address = self._host.partition("(")[2].rstrip(")")
        self._how = json.loads(om[: om.index(b"\0")]).get(address, {})
        device = int(os.environ["ASCEND_RT_VISIBLE_DEVICES"])
        return Ready(Maker(self._host, device, f"{device}/0"), self._how.get("canary", "right"))

    def run(self, shard, pictures):
        """The detections of a shard, one shard at a time."""
        import tempfile

        from fcos_lib.device.bench import written
        from fcos_lib.stream.feed import batches, seen_in

        self._turn.get()
        try:
            time.sleep(self._how.get("seconds", 0.05))
            if self._how.get("die"):
                os.kill(os.getpid(), signal.SIGKILL)
            session, detections = FakeSession(), {}
            with tempfile.TemporaryDirectory() as folder:
                for batch in batches(written(pictures, Path(folder)), TINY, BATCH):
                    detections |= seen_in(batch, session.run(batch.tensor))
            return detections
        finally:
            self._turn.put(None)

    def ask_again(self):
        """Nothing changes here."""
        return True

    def stop(self):
        """Nothing is held."""
        return True


def answer_of(detections):
    """A digest of every bit of an evaluation, order included."""
    digest = hashlib.sha256()
    for key, seen in detections.items():
        digest.update(str(key).encode() + seen.boxes.tobytes() + seen.scores.tobytes() + seen.labels.tobytes())
    return digest.hexdigest()


def fake_job(om):
    """What fake devices need to know."""
    from fcos_lib.contract import InputLayout
    from fcos_lib.stream.dispatch_devices import Job

    return Job(
        TINY, InputLayout.FLOAT_NCHW, BATCH, hashlib.sha256(om).hexdigest(), (), {}, mixed=False, stand_in=True,
        run_id="run", run_time_limit=300,
    )  # fmt: skip


def evaluate(cluster, worker, om, job, folder, pictures, fingerprint=FINGERPRINT):
    """Evaluate; the digest, the facts and the seconds."""
    from fcos_lib.stream.cluster import Pool
    from fcos_lib.stream.dispatch import detect_on_cluster
    from fcos_lib.stream.dispatch_devices import calls_at_once
    from fcos_lib.stream.journal import Journal

    started = time.monotonic()
    with (
        Journal(Path(folder), pictures, job.batch, fingerprint) as journal,
        closing(Pool(cluster, worker, calls_at_once(job.batch) + 2)) as pool,
    ):
        found, facts = detect_on_cluster(pool, om, job, journal)
    return {
        "answer": answer_of(found), "inferred": facts.inferred, "resumed": facts.resumed, "shards": dict(facts.shards),
        "notes": list(facts.notes), "seconds": time.monotonic() - started,
    }  # fmt: skip


class Server:
    """The cluster's nodes, and what can be asked for."""

    def __init__(self):
        from ray.cluster_utils import Cluster as Nodes

        self._nodes = Nodes()
        self._by_address = {}
        self.add(HEAD, 0)
        from fcos_lib.stream.cluster import join

        self.cluster = join(self._nodes.address)

    def add(self, address, npus, store_mb=STORE_MB, env=None):
        """A node; the cluster's address and nodes."""
        self._by_address[address] = self._nodes.add_node(
            num_cpus=1, resources={"NPU": npus} if npus else {}, object_store_memory=store_mb << 20,
            include_dashboard=False, node_ip_address=address, env_vars=env,
        )  # fmt: skip
        return self._nodes.address

    def where(self):
        """The cluster's address."""
        return self._nodes.address

    def remove(self, address):
        """Take a node away, as its operator would."""
        self._nodes.remove_node(self._by_address.pop(address), allow_graceful=False)

    def kill_raylet(self, address):
        """kill -9 of the process that is the node."""
        node = self._by_address[address]
        os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)

    def evaluate(self, folder, how=None, count=60, at=None, padding=0):
        """With fake devices; `at` is (shards, method, arguments): something that happens then."""
        om = json.dumps(how or {}).encode() + b"\0" + bytes(padding)
        found = concurrent.futures.Future()

        def work():
            try:
                pictures = pictures_of_the_set(count)
                found.set_result(evaluate(self.cluster, FakeWorker, om, fake_job(om), folder, pictures))
            except BaseException as error:
                found.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        if at:
            shards, method, arguments = at
            while len(list(Path(folder).glob("shard*"))) < shards and not found.done():
                time.sleep(0.05)
            getattr(self, method)(*arguments)  # here: Ray starts nodes in the main thread only
        return found.result()

    def evaluate_alone(self, artifacts, count=64):
        """What the OM finds on the emulator in this process: the digest."""
        from fcos_lib.ascend.om_session import OmSession
        from fcos_lib.contract import SHAPES
        from fcos_lib.stream.feed import detect

        _, om = self._om(artifacts)
        with OmSession(om, SHAPES, REAL_BATCH) as session:
            return answer_of(detect(session, pictures_of_the_set(count), SHAPES, REAL_BATCH))

    def evaluate_really(self, folder, artifacts, count=64, limit=300):
        """With the emulator's devices and an OM."""
        from fcos_lib.contract import SHAPES, InputLayout
        from fcos_lib.device.worker import Worker, software_of
        from fcos_lib.stream.dispatch_devices import Job, sent

        device, path = self._om(artifacts)
        om, pictures = path.read_bytes(), pictures_of_the_set(count)
        job = Job(
            SHAPES, InputLayout.FLOAT_NCHW, REAL_BATCH, hashlib.sha256(om).hexdigest(), sent(pictures[:2]),
            software_of(device), mixed=False, stand_in=True, run_id=uuid.uuid4().hex, run_time_limit=limit,
        )  # fmt: skip
        return evaluate(self.cluster, Worker, om, job, folder, pictures, {"om": "x"})

    def _om(self, artifacts):
        from fcos_lib.artifacts.from_checkpoint import onnx_artifact
        from fcos_lib.artifacts.om import om_artifact, om_path
        from fcos_lib.ascend.atc_command import AtcOptions
        from fcos_lib.contract import SHAPES
        from fcos_lib.device.npus import use_emulator
        from fcos_lib.store.artifacts import Store
        from fixtures.settings import EMBEDDED_CHECKPOINT

        device, store = use_emulator(Path(artifacts) / "emulator")[0], Store(Path(artifacts))
        models = onnx_artifact(store, SHAPES, EMBEDDED_CHECKPOINT)
        options = AtcOptions(device.soc_version, REAL_BATCH)
        return device, om_path(om_artifact(store, models, SHAPES, device.toolkit, options))

    def close(self):
        """End everything."""
        self.cluster.close()
        self._nodes.shutdown()


def environment():
    """What every process of the cluster needs; nothing of it listens beyond the loopback."""
    return {
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_health_check_period_ms": "500", "RAY_health_check_timeout_ms": "1000",
        "RAY_health_check_failure_threshold": "3", "RAY_num_prestart_python_workers": "0", "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip


@contextmanager
def served(environ, log):
    """A function that asks the server: method and arguments; an error comes back as its type's name and its text."""
    command = [sys.executable, "-m", "tests.unit.stream.cluster_server"]
    with open(log, "w") as errors, subprocess.Popen(
        command, cwd=ROOT, env=environ | environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip

        def ask(method, *arguments, **named):
            process.stdin.write(json.dumps([method, arguments, named], default=str) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            assert line, f"the server is gone: {Path(log).read_text()[-2000:]}"
            return json.loads(line)

        try:
            yield ask
            process.stdin.close()
            process.wait(60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def free_port():
    """One of the loopback at which nobody answers."""
    with socket.socket() as probe:
        probe.bind((HEAD, 0))
        return probe.getsockname()[1]


def _serve():
    from fcos_lib.ascend.watchdog import end_with_parent

    end_with_parent()  # and its nodes with it
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is no answer
    from fcos_lib.errors import FcosError

    server = Server()
    try:
        for line in sys.stdin:
            method, arguments, named = json.loads(line)
            try:
                result = getattr(server, method)(*arguments, **named)
            except FcosError as error:
                result = {"error": type(error).__name__, "found": error.found, "advice": error.advice}
            except Exception:
                result = {"error": "of the server", "found": traceback.format_exc()}
            print(json.dumps(result), file=answers, flush=True)
    finally:
        server.close()


def drive(address, folder, count):
    """Evaluate from a process of its own, which a test may kill."""
    from fcos_lib.stream.cluster import join

    with join(address) as cluster:
        om = json.dumps({f"127.0.0.{node}": {"seconds": 0.3} for node in range(1, 9)}).encode() + b"\0"
        print(
            json.dumps(evaluate(cluster, FakeWorker, om, fake_job(om), folder, pictures_of_the_set(count))), flush=True
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        drive(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        _serve()
