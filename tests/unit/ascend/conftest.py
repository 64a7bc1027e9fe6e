"""What the tests of `fcos_lib.ascend` share: a small contract, shell scripts as CANN's tools, and a fake aclruntime."""

import ctypes
import os
import sys
import textwrap
import types

import numpy as np
import pytest

from fcos_lib.contract import ModelContract


@pytest.fixture
def contract():
    """A contract whose input has 3 x 4 x 6 values, so that batches are cheap."""
    return ModelContract(
        name="tiny",
        classes=("disc", "square"),
        height=4,
        width=6,
        base_channels=1,
        feature_channels=1,
        max_detections=5,
    )


@pytest.fixture
def script(tmp_path):
    """Writes an executable shell script and returns its path."""

    def write(name, body):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n" + textwrap.dedent(body))
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def wait_until_dead():
    """Whether the process with this id ends within two seconds; a zombie that nobody reaps counts as ended."""
    import time

    def is_alive(pid):
        try:
            os.kill(pid, 0)
            with open(f"/proc/{pid}/stat") as stat:
                return stat.read().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    def wait(pid):
        end = time.monotonic() + 2
        while is_alive(pid) and time.monotonic() < end:
            time.sleep(0.02)
        return not is_alive(pid)

    return wait


ROWS = 5
BATCH = 2
NUMBERS = {"float32": 0, "float16": 1, "int32": 3, "uint8": 4, "int64": 9}


def desc(name, dtype, *shape):
    """A `tensor_desc` as aclruntime describes a tensor."""
    size = abs(int(np.prod(shape))) * np.dtype(dtype).itemsize
    return types.SimpleNamespace(
        name=name, datatype=NUMBERS[dtype], format=0, shape=list(shape), size=size, realsize=size
    )


def printf(text):
    """Print as the C++ library does: through C's buffer, below sys.stdout."""
    ctypes.CDLL(None).printf(b"%s", text.encode())


class Tensor:
    """A result on the device, which refuses numpy until it has been copied to the host."""

    def __init__(self, array):
        self.array, self.on_host = array, False

    def to_host(self):
        """Copy in place, as aclruntime does."""
        self.on_host = True

    def __array__(self, dtype=None, copy=None):
        if not self.on_host:
            raise RuntimeError("tensor is in npu. can't convert to numpy array")
        return self.array


class Fake:
    """What a fake `aclruntime` does, and what it was asked to do."""

    def __init__(self, generation):
        self.generation = generation
        self.inputs = [desc("input", "float32", BATCH, 3, 4, 6)]
        self.outputs = [
            desc("Cast_12:0:labels", "int64", BATCH, ROWS),
            desc("Concat_13:0:dets", "float32", BATCH, ROWS, 5),
        ]
        self.labels = np.arange(BATCH * ROWS, dtype=np.int64).reshape(BATCH, ROWS) % 2
        self.dets = np.linspace(0, 1, BATCH * ROWS * 5, dtype=np.float32).reshape(BATCH, ROWS, 5)
        self.load_error = self.run_error = self.free_error = None
        self.loaded, self.fed, self.freed, self.times = None, [], 0, []

    def results(self):
        """The arrays in the order of the described outputs."""
        return [self.labels if len(output.shape) == 2 else self.dets for output in self.outputs]

    def module(self):
        """The module object, with the surface of its generation."""
        fake = self

        class BaseTensor:
            def __init__(self, buf, size):
                self.buf, self.size = buf, size

        class InferenceSession:
            def __init__(self, path, device_id, options):
                assert options.log_level == 3
                printf("[INFO] acl init success\n")
                if fake.load_error:
                    printf(fake.load_error)
                    raise RuntimeError("[1][ACL: invalid parameter] ")
                fake.loaded = (path, device_id)

            def get_inputs(self):
                return fake.inputs

            def get_outputs(self):
                return fake.outputs

            def run(self, names, feeds):
                assert names == [output.name for output in fake.outputs]
                assert [type(feed) for feed in feeds] == [BaseTensor]
                fake.fed.append(ctypes.string_at(feeds[0].buf, feeds[0].size))
                if fake.run_error:
                    printf(fake.run_error)
                    raise RuntimeError("[-1][ACL: general failure] ")
                start = 10.0 * len(fake.times)
                fake.times.append(2.5 if fake.generation == "old" else (start, start + 2.5))
                return [Tensor(array) for array in fake.results()]

            def sumary(self):
                return types.SimpleNamespace(exec_time_list=list(fake.times))

            def finalize(self):
                raise AssertionError("finalize tears down every session of the process")

        spelling = "reset_summaryinfo" if self.generation == "0.0.3" else "reset_sumaryinfo"
        setattr(InferenceSession, spelling, lambda session: fake.times.clear())
        if self.generation != "old":

            def free_resource(session):
                fake.freed += 1
                if fake.free_error:
                    raise RuntimeError(fake.free_error)

            InferenceSession.free_resource = free_resource
            InferenceSession.set_staticbatch = lambda session: 0

        module = types.ModuleType("aclruntime")
        module.BaseTensor, module.InferenceSession = BaseTensor, InferenceSession
        module.session_options = types.SimpleNamespace
        return module


@pytest.fixture(params=["old", "new", "0.0.3"])
def fake(request, monkeypatch):
    """A fake aclruntime of each generation, installed as the module."""
    fake = Fake(request.param)
    monkeypatch.setitem(sys.modules, "aclruntime", fake.module())
    return fake


@pytest.fixture
def new_fake(monkeypatch):
    """A fake aclruntime of the new generation."""
    fake = Fake("new")
    monkeypatch.setitem(sys.modules, "aclruntime", fake.module())
    return fake


@pytest.fixture
def om(tmp_path):
    """A file that stands for a compiled model."""
    path = tmp_path / "model.om"
    path.write_bytes(b"om")
    return path


@pytest.fixture
def batch():
    """A batch of the contract's input."""
    return np.arange(BATCH * 3 * 4 * 6, dtype=np.float32).reshape(BATCH, 3, 4, 6)


@pytest.fixture
def describe():
    """Makes a `tensor_desc` from a name, a dtype and sizes."""
    return desc
