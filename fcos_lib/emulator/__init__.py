"""A software CANN for machines without an NPU: `atc`, `npu-smi` and the module `aclruntime`.

Texts, exit codes and interfaces follow the ATC user guide, npu-smi and the aclruntime source; numbers come from
onnxruntime on the CPU, rounded to fp16 where the device would, and from the NMS kernel's arithmetic in numpy. Times mean
nothing, or what `rate=` in `FCOS_EMULATOR` says. Whatever was made here says STAND-IN: the OM in its first line, the toolkit
in its version.
"""

STAND_IN = "STAND-IN"
"""The word that labels everything the emulator makes."""

CANN_VERSION = "8.0.0"
"""The CANN whose texts are spoken; the label and the hash of the emulator follow it in `version.cfg`."""

DRIVER_VERSION = "24.1.0"
FIRMWARE_VERSION = "7.5.0"
"""The driver that `driver/version.info` names."""
