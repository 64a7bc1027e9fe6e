"""Calls of aclruntime as a client makes them: opening a session, handing an array over, fetching the outputs."""

from contextlib import contextmanager

import numpy as np

from fcos_lib.emulator import aclruntime

NAMES = ["Cast_15:0:labels", "Concat_19:0:dets"]


def open_session(path, device=0, options=None):
    """A session on the OM."""
    return aclruntime.InferenceSession(str(path), device, options or aclruntime.session_options())


@contextmanager
def sessions(play):
    """A function that opens a session on an OM in a scenario; all that it opened are freed in the end."""
    opened = []

    def load(path, scenario):
        play(scenario)
        opened.append(open_session(path))
        return opened[-1]

    yield load
    for session in opened:
        if hasattr(session, "free_resource"):
            session.free_resource()


def base_tensors(array):
    """The one input as the runtime takes it from a numpy array."""
    return [aclruntime.BaseTensor(array.ctypes.data, array.nbytes)]


def on_host(tensors):
    """Device tensors as arrays."""
    for tensor in tensors:
        tensor.to_host()
    return [np.array(tensor) for tensor in tensors]


def run(session, array, times=1):
    """Labels and dets on the host, of the last of these runs."""
    for _ in range(times):
        tensors = session.run(NAMES, base_tensors(array))
    return on_host(tensors)


def durations(session):
    """The reported times in ms, of any generation."""
    return [entry if np.ndim(entry) == 0 else entry[1] - entry[0] for entry in session.sumary().exec_time_list]
