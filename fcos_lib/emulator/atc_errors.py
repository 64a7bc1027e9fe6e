"""Which words does `atc` have for a mistake? Its error codes, and the layout in which CANN 8 prints them.

Messages, causes and solutions are those of the Graph Engine's error registry, as far as the emulator can detect the
mistake.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import NamedTuple

from fcos_lib.emulator import STAND_IN

_NA = "N/A"
_VALID = "Try again with a valid argument."
_SET = "Set a valid parameter value."
_REMOVE_DYNAMIC = "In static shape scenarios, remove the --dynamic_batch_size option from your command line."


class _Entry(NamedTuple):
    message: str
    solution: str
    cause: str = _NA


_CATALOGUE = {
    "E10001": _Entry("Value {} for parameter {} is invalid. Reason: {}", _VALID),
    "E10002": _Entry(
        "Value {} for parameter --input_shape is invalid. Reason: {}. The value must be formatted as {}.",
        "The valid format is input_name1:n1,c1,h1,w1;input_name2:n2,c2,h2,w2. Replace input_name with node names. "
        "Ensure that the shape values are integers.",
    ),
    "E10004": _Entry("Value for --{} is empty.", _SET),
    "E10005": _Entry("Value {} for parameter --{} is invalid. The value must be either true or false.", _SET),
    "E10006": _Entry("Value {} for parameter --{} is invalid. The value must be either 1 or 0.", _SET),
    "E10007": _Entry("[{}] is required. The value must be [{}].", _SET),
    "E10009": _Entry(
        "--dynamic_batch_size, --dynamic_image_size, --input_shape_range, and --dynamic_dims are mutually exclusive.",
        "In dynamic shape scenarios, include only one of these options in your command line.",
    ),
    "E10010": _Entry("Value {} for parameter --log is invalid.", "Select the value from debug, info, warning, error, and null."),
    "E10011": _Entry(
        "Value {} for parameter --input_shape is invalid. Shape values must be positive integers. "
        "The error value in the shape is {}.",
        "In static shape scenarios, set the shape values in --input_shape to positive integers.",
    ),
    "E10016": _Entry(
        "Opname {} specified in --{} is not found in the model. Confirm whether this node name exists, or the node is "
        "not split with the specified delimiter ';'.",
        "Specify the name of an existing node in the graph.",
    ),
    "E10018": _Entry(
        "Value {} for shape {} is invalid. When --dynamic_batch_size is included, only batch size N can be -1 in "
        "--input_shape.",
        "Make sure that non-batch size axes are not -1.",
    ),
    "E10031": _Entry(
        "--dynamic_batch_size is included, but none of the nodes specified in --input_shape has a batch size equaling -1.",
        _REMOVE_DYNAMIC,
    ),
    "E10035": _Entry(
        "--dynamic_batch_size, --dynamic_image_size, or --dynamic_dims has {} profiles, which is less than the minimum {}.",
        "Ensure that the number of profiles is at least the minimum.",
    ),
    "E10036": _Entry(
        "--dynamic_batch_size, --dynamic_image_size, or --dynamic_dims has {} profiles, which is greater than the "
        "maximum {}.",
        "Ensure that the number of profiles is at most the maximum.",
    ),
    "E10038": _Entry("Dimension size {} is invalid. The value must be greater than 0.", _VALID),
    "E10039": _Entry(
        "The --dynamic_batch_size, --dynamic_image_size, or --dynamic_dims argument have duplicate profiles.",
        "Check that the profiles are unique.",
    ),
    "E10040": _Entry(
        "As the --dynamic_batch_size, --dynamic_image_size, or --dynamic_dims argument is included, the corresponding "
        "nodes specified in --input_shape must have -1 axes and cannot have '~'.",
        _REMOVE_DYNAMIC,
    ),
    "E10041": _Entry("Failed to load the model from {}.", "Check that the model file is valid."),
    "E10047": _Entry("--{} and --{} are mutually exclusive.", "Remove either of them and try again."),
    "E10049": _Entry(
        "Dimension count {} configured in --input_shape does not match dimension count {} of the node.",
        "Set the dimension count in --input_shape according to the dimension count of the node.",
    ),
    "E10052": _Entry("AIPP configuration is invalid. Reason: {}.", _NA),
    "E10054": _Entry(
        "The required parameter {} for ATC is empty. Another possible reason is that the values of some parameters are "
        'not enclosed by quotation marks ("").',
        "Check whether the command line parameter format is correct.",
    ),
    "E10055": _Entry(
        "The operation is not supported. Reason: {}.",
        "Check whether the configured parameter or used function is supported.",
    ),
    "E10056": _Entry(
        "Cannot configure both parameters {} and {} simultaneously.",
        "The two parameters cannot be set at the same time.",
    ),
    "E10057": _Entry("--{} and --{} can only be used together", "Please check and try again."),
    "E10410": _Entry(
        "File {} does not exist.",
        "Try again with a valid file directory.",
        "The file specified by the --keep_dtype or --compress_weight_conf argument does not exist.",
    ),
    "E11017": _Entry("Failed to find node {} specified by --out_nodes.", "Try again with a valid --out_nodes argument."),
    "E13000": _Entry("Path {} is empty. Reason: {}.", "Try again with a valid directory.", "The file does not exist."),
    "E13010": _Entry(
        "No operator plugin is registered for Op: {}, optype: {}.",
        "If the operator is a built-in operator, install the package that supports this operator version.",
    ),
    "E16004": _Entry("ONNX model has no graph.", "Check that the ONNX model is valid."),
    "E19010": _Entry("No parser is registered for Op [{}, optype [{}]].", _NA),
    "EC0010": _Entry(
        "Failed to import Python module [{}].",
        "Check that all required components are properly installed and the specified Python path matches the Python "
        "installation directory.",
    ),
    "EZ3003": _Entry(
        "No supported Ops kernel and engine are found for [{}], optype [{}].",
        "1. Check that the OPP component is installed properly. 2. Submit an issue to request for the support of this "
        "operator type.",
        "The operator is not supported by the system. Therefore, no hit is found in any operator information library.",
    ),
    "E19999": _Entry("Inner Error!\n        Unknown error occurred. Please check the log.", _NA),
}  # fmt: skip


class AtcError(Exception):
    """One error as `atc` reports it: a code of the catalogue and what fills its message.

    Missing values read STAND-IN, and so does the message of a code that the catalogue does not have.
    """

    def __init__(self, code: str, *values: object) -> None:
        self.code = code
        self._entry = _CATALOGUE.get(code, _Entry(STAND_IN, _NA))
        missing = [STAND_IN] * (self._entry.message.count("{}") - len(values))
        self.message = self._entry.message.format(*values, *missing)
        super().__init__(f"{code}: {self.message}")

    def text(self) -> str:
        """The block that follows `ATC run failed` on stdout, in CANN 8's layout."""
        if self.code == "E19999":  # nothing was recorded, so there is no time to print either
            return f"{self.code}: {self.message}"
        now = datetime.now()
        micro = f"{now.microsecond:06d}"
        stamp = f"[PID: {os.getpid()}] {now:%Y-%m-%d-%H:%M:%S}.{micro[:3]}.{micro[3:]}"
        lines = [f"{self.code}: {stamp} {self.message}"]
        for title, value in (("Possible Cause", self._entry.cause), ("Solution", self._entry.solution)):
            if value != _NA:
                lines.append(f"        {title}: {value}")
        return "\n".join(lines)
