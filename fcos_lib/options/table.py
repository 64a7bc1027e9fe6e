"""The table of the suite's options. All that is known about one is said here.

A new option of pytest also needs a field of its name in the two records of a run's settings: `Settings` of `fixtures/settings.py`,
which says its type, and of `evidence/schema.py`, which results.json is checked by.

From it come pytest's options (`fixtures/options.py`), the options that verbs share with it (`cli/main.py`), the command that
runs a failure again and the settings in results.json (`fixtures/settings.py`), the options whose value pytest may take for a
test path (`cli/rootdir.py`), and docs/options.md (`tools/make_options_page.py`). Light: every start of pytest reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fcos_lib.options.option import (
    Option,
    atc_option,
    batch_sizes,
    category,
    cluster,
    contract,
    device_ids,
    number,
    path,
    promises,
)

PRECISION_MODE = "force_fp16"
"""The recipe's."""
_AUTO = "auto: the NPU if there is one, else the emulator (STAND-IN); required: an NPU or"
_COCO = "COCO folder with annotations/instances_val2017.json and val2017/"
_ON_A_DEVICE = ("compile", "infer", "bench", "explain", "bundle", "replay")
_FOR_A_VERB = {"help": f"{_COCO}, such as fixtures/shapes in a checkout", "default_words": ""}


def _each(*verbs: str, **changes: Any) -> Mapping[str, Mapping[str, Any]]:
    """The same changes for each of these verbs."""
    return {verb: changes for verb in verbs}


_WHAT_IS_TESTED = (
    Option(
        "--npu", f"{_AUTO} exit 4", choices=("auto", "emulated", "required"), default="auto",
        verbs={
            **_each(*_ON_A_DEVICE, help=f"{_AUTO} an error"),
            "verify": {"help": "required: STAND-IN is not green"},
        },
    ),
    Option(
        "--device-id", "the NPUs to test on; each is used by one process at a time", "N,N,...", device_ids, (),
        "all of the first one's kind",
        verbs=_each(
            *_ON_A_DEVICE, "doctor", help="which NPU", metavar="N", convert=number(0, 255), default=0, default_words=""
        ),
    ),
    Option(
        "--dataset", _COCO, "FOLDER", path, default_words="the embedded shapes",
        verbs={
            **_each("preprocess", "info", required=True, **_FOR_A_VERB),
            **_each("export", "infer", "bench", "evaluate", **_FOR_A_VERB),
            **_each("explain", "bundle", default_words="the run's"),
        },
    ),
    Option(
        "--contract",
        "the model's contract: a name that `python -m fcos_lib contracts` lists, or a FILE.toml of your own",
        "NAME", contract, default_words="the one whose classes are the dataset's categories, and whose weights are the checkpoint's",
    ),
    Option(
        "--category",
        "the dataset's category NAME is the model's CLASS, with --contract; others go by their own names, and what has no "
        "counterpart counts as with pycocotools; may be repeated",
        "CLASS=NAME", category, (), many=True,
        verbs=_each("preprocess", "evaluate"),
    ),
    Option(
        "--checkpoint", "the .pth to test", "FILE", path, default_words="the embedded one",
        verbs={"export": {"help": "the .pth", "default_words": "", "required": True}},
    ),
    Option(
        "--pictures",
        "use N pictures, spread over the dataset; mAP is then judged by its difference to the reference only",
        "N", number(1, 1_000_000, "pictures"), default_words="all",
        verbs={"explain": {"help": "how many pictures", "default_words": "the run's, 500 at most"}},
    ),
    Option(
        "--reference", default=False,
        help="on a large dataset too, let the reference see every picture: onnxruntime on the CPU, hours for COCO",
    ),
    Option(
        "--onnx", "test an ONNX with BatchMultiClassNMS that was exported elsewhere, instead of exporting the checkpoint",
        "FILE", path,
    ),
    Option("--om", "test OMs that were compiled elsewhere, one per batch size, instead of running atc", "FOLDER", path),
    Option(
        "--build-only", "build ONNX and OMs and count what they cost; needs atc, and no NPU with --soc-version", default=False
    ),
    Option("--golden-only", "compute what the reference finds, for runs to come; needs neither NPU nor CANN", default=False),
)  # fmt: skip

_HOW_IT_IS_COMPILED = (
    Option(
        "--soc-version", "with --build-only: what to compile for, such as Ascend310P3", "CHIP", default="",
        verbs={"compile": {"help": "such as Ascend310P3", "default": "auto", "default_words": "the device's"}},
    ),
    Option(
        "--aipp", default=False,
        help="test OMs that take uint8 pictures and subtract the mean on the device (AIPP), a quarter of the bytes",
    ),
    Option("--dynamic-batch", "test one OM that has all batch sizes as profiles, instead of one OM per batch size", default=False),
    Option("--batch-sizes", "batch sizes to build and test", "N,N,...", batch_sizes, (1, 4, 8, 16, 32, 64)),
    Option(
        "--precision-mode", "atc's", "MODE", default=PRECISION_MODE, default_words=f"{PRECISION_MODE}; '': none",
        for_atc=True, verbs={"compile": {}},
    ),
    Option(
        "--op-select-implmode", "atc's", "MODE", default="", default_words="high_performance",
        for_atc=True, verbs={"compile": {}},
    ),
    Option(
        "--atc-option", "passed on to atc, such as --atc-option=--fusion_switch_file=/x/fusion.cfg; may be repeated",
        "=--NAME=VALUE", atc_option, (), many=True, for_atc=True, verbs={"compile": {}},
    ),
    # The recipe's compilation takes some minutes.
    Option(
        "--atc-time-limit", "kill atc after this", "MINUTES", number(1, 1440, "minutes"), 60,
        for_atc=True, verbs={"compile": {}},
    ),
)  # fmt: skip

_HOW_IT_IS_JUDGED = (
    Option(
        "--baseline", "the accepted throughput", "FILE", path, default_words="accepted.json in --benchmark-storage",
        verbs={"history": {"default_words": "accepted.json in the storage"}},
    ),
    Option(
        "--require-baseline", "throughput with no champion and no accepted run is FAIL", default=False,
        verbs={"history compare": {"help": "a series that was never accepted is FAIL"}},
    ),
    Option(
        "--no-explain", default=False,
        help="fail at once: do not look for the stage and the layer that cost the mAP, up to 5 minutes",
    ),
    Option(
        "--require",
        "NO VERDICT (exit 7) unless every gate of these promises judges, for every batch size: "
        "contract, cost, consistency, accuracy, throughput, or all",
        "PROMISE,...", promises, (), repeated=False,
        verbs={"verify": {
            "help": "promises of which every gate has to have judged, or all", "convert": None, "default": "",
            "default_words": "those that the run required",
        }},
    ),
    # The longest known call is the load of an OM of several GB, about a minute.
    Option(
        "--run-time-limit", "end a process whose call into the NPU's library takes longer, as INFRA", "SECONDS",
        number(1, 86400, "seconds"), 300,
    ),
)  # fmt: skip

_ON_MANY_DEVICES = (
    Option(
        "--cluster",
        "evaluate on every NPU of a Ray cluster, for accuracy and consistency: auto: the one that this host belongs to; "
        "local: one of this host's own NPUs, which is started; or HOST:PORT; needs the extra [cluster]",
        "auto|local|HOST:PORT", cluster, default_words="this process alone",
    ),
    Option(
        "--cluster-mixed", "with --cluster: use hosts with another CANN, driver or firmware, or other libraries, too",
        default=False,
    ),
)  # fmt: skip

_WHERE_THINGS_ARE_KEPT = (
    Option("--fresh", "start evaluations over that an earlier run left unfinished", default=False, repeated=False),
    Option(
        "--references", "where the reference's results are kept; hosts may share it", "FOLDER", path,
        default_words="references/ below --artifacts",
    ),
    Option(
        "--artifacts", "where ONNX, OM, champions and results are kept between runs", "FOLDER", path, default_words=".artifacts",
        verbs={
            **_each(
                "export", "compile", "infer", "bench", "accept", default=Path(".artifacts"), default_words="",
                help="where ONNX and the emulator are kept between runs",
            ),
            **_each("explain", "bundle", default_words="the run's"),
        },
    ),
)  # fmt: skip

GROUPS = {
    "What is tested": _WHAT_IS_TESTED,
    "How it is compiled": _HOW_IT_IS_COMPILED,
    "How it is judged": _HOW_IT_IS_JUDGED,
    "On many devices": _ON_MANY_DEVICES,
    "Where things are kept": _WHERE_THINGS_ARE_KEPT,
}
OPTIONS = {option.name: option for options in GROUPS.values() for option in options}
"""Every option by its name."""


def options_of(verb: str) -> Iterator[Option]:
    """The options of the table that a verb takes, each as the verb takes it."""
    return (option.of(verb) for option in OPTIONS.values() if verb in option.verbs)
