"""How a caller of aclruntime hands tensors over and gets them back."""

import numpy as np

from fcos_lib.emulator import aclruntime

NAMES = ["Cast_15:0:labels", "Concat_19:0:dets"]


def base_tensors(array):
    """The one input as the runtime takes it from a numpy array."""
    return [aclruntime.BaseTensor(array.ctypes.data, array.nbytes)]


def on_host(tensors):
    """Device tensors as arrays."""
    for tensor in tensors:
        tensor.to_host()
    return [np.array(tensor) for tensor in tensors]
