"""The verbs of the command line, in groups, with their functions, and the overview that lists them."""

from __future__ import annotations

import argparse

VERBS = {
    "the model's way": {
        "contract": ("contracts:contract", "write the contract of a config of mmdetection, which is not run"),
        "contracts": ("contracts:contracts", "list the models that have a contract here, and how each differs from the recipe's"),
        "export": ("models:export", "write both ONNX endings of a checkpoint"),
        "compile": ("models:compile_onnx", "compile ascend.onnx to an OM with atc"),
    },
    "a picture's way": {
        "preprocess": ("pictures:preprocess", "write the network input of every picture as a .bin file"),
        "info": ("pictures:info", "write the list of pictures and sizes that get_info.py writes"),
        "infer": ("pictures:infer", "run a folder of .bin files through an OM, as ais_bench does"),
        "evaluate": ("evaluate:evaluate", "judge the mAP of a result folder, or count that of any detector's COCO result file"),
        "bench": ("pictures:bench", "measure the throughput of an OM on zeros, as ais_bench does"),
    },
    "verdicts": {
        "limits": ("verdicts:limits", "print every limit with where it comes from"),
        "judge": ("verdicts:judge", "decide a stored run again under other limits, without inference"),
        "verify": ("verdicts:verify", "say whether a stored run, or what attest wrote, is complete, green and true; for scripts"),
        "accept": ("accept:accept", "make the OMs of a run the champions that later ones are compared with"),
        "attest": ("attest:attest", "write a statement about a stored run that others can check, signed with --key"),
        "history": ("history:history", "list, compare, accept, draw or export the throughput of stored runs"),
    },
    "two detectors": {
        "compare": ("compare:compare", "say by how much one COCO result file is better than another, with 95 % intervals"),
    },
    "reading a failure": {
        "page": ("results:page", "draw a stored run as one HTML page, to be read or mailed"),
        "explain": ("explain:explain", "say which stage, kind of mistake and layer lost the mAP of a stored run"),
        "bundle": ("bundle:bundle", "pack pictures of a stored run, with all that both sides computed, for somebody else"),
        "replay": ("replay:replay", "compute a bundle again on this machine, and say what differs"),
        "diff": ("results:diff", "say what moved between two stored runs, and whether beyond noise"),
        "summary": ("results:summary", "print a stored run as Markdown, for the page of a CI job"),
    },
    "this machine": {
        "doctor": ("main:doctor", "say what is here for a run on an NPU, and what is missing"),
        "completion": ("parser:completion", "print a script for bash or zsh that completes verbs and options"),
    },
}  # fmt: skip
"""By group and name: the function, in a module of this package that is imported when the verb is called, and what it does."""
_STATUSES = """
exit status:
  0     done
  1     the verb's own check failed: a gate is FAIL (evaluate, compare, judge, history compare), something moved (diff),
        a statement is not true (verify), a bundle comes out otherwise (replay), no NPU run is possible (doctor)
  2     the options make no sense
  3     an error: its cause and what to do are on stderr
  7, 8  what was judged is NO VERDICT, INFRA (compare, judge, history compare)
  130   interrupted
"""
DEBUG = "show the traceback of an error"


class Overview(argparse.ArgumentParser):
    """The parser of all verbs; its help lists them in groups, with a line each, and the exit statuses."""

    def format_help(self) -> str:
        """Verbs, options and exit statuses."""
        groups = {title: {name: text for name, (_, text) in verbs.items()} for title, verbs in VERBS.items()}
        groups["options"] = {
            "-h, --help": "show this, or the options of a verb",
            "--version": "fcos_lib, CANN and Python",
            "--debug": DEBUG,
        }
        width = 2 + max(len(name) for entries in groups.values() for name in entries)
        lines = [f"usage: {self.prog} VERB ...\n\n{self.description}\n"]
        for title, entries in groups.items():
            lines.append(f"\n{title}:\n" + "".join(f"  {name:<{width}}{text}\n" for name, text in entries.items()))
        return "".join(lines) + _STATUSES
