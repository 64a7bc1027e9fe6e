"""A run with evidence of every kind, small, to be drawn and to be spoilt."""

import base64

import cv2
import numpy as np
import pytest

from tests.unit.evidence.entries import verdict


def jpeg(width=120, height=90, seed=0):
    """A picture of noise as base64."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return base64.b64encode(cv2.imencode(".jpg", pixels)[1].tobytes()).decode()


def picture(number, loss, cause="IoU limit"):
    """One picture with a box that only the reference has, one that became less sure, and two that are equal, one of them faint."""
    return {
        "name": f"{number:012}.jpg", "width": 240, "height": 180, "jpeg": jpeg(seed=number), "scale": 0.5,
        "score_loss": loss,
        "truth": [[10, 10, 100, 90, 0]],
        "reference": [[10, 12, 101, 91, 0.9, 0], [120, 50, 200, 150, 0.4, 1], [5, 5, 30, 30, 0.1, 1], [60, 20, 99, 40, 0.7, 1]],
        "candidate": [[11, 12, 101, 92, 0.8, 0], [5, 5, 30, 30, 0.1, 1], [60, 20, 99, 40, 0.7, 1]],
        "differences": [
            {"kind": "missing", "cause": cause, "side": "reference", "row": 1, "other_row": None, "text": "gone"},
            {"kind": "score", "cause": "unexplained", "side": "reference", "row": 0, "other_row": 0, "text": "less"},
        ],
    }  # fmt: skip


def change(value, low, high):
    """A difference with its interval."""
    return {"value": value, "low": low, "high": high, "n": 40}


def of_class(name, value, low, high):
    """AP of a class on both sides."""
    return {"name": name, "reference": 0.6, "candidate": 0.6 + value, "difference": change(value, low, high)}


def evidence():
    """Every kind that a page draws."""
    median = {"value": -0.001, "low": -0.002, "high": -0.0005}
    level = {"level": "P3", "pairs": 40, "log_size": median, "centre_x": median, "centre_y": None, "score": median}
    kinds = {
        "pictures": {"names": ["cat", "dog"], "pictures": [picture(1, 0.2), picture(2, 0.7)]},
        "scatter": {"points": [[0.5, 0.49], [0.9, 0.91], [0.3, 0.0]], "total": 3},
        "levels": {"levels": [{**level, "proposals": None}]},
        "precision_recall": {
            "recall": [i / 100 for i in range(101)], "reference": [1 - i / 200 for i in range(101)],
            "candidate": [1 - i / 180 for i in range(101)],
        },
        "classes": {
            "all": [of_class("mAP", -0.05, -0.06, -0.04)],
            "sizes": [of_class("small", -0.08, -0.1, -0.06)],
            "iou": [of_class("0.50", -0.02, -0.05, 0.01)],
            "classes": [of_class("cat", 0.01, -0.02, 0.04), of_class("dog", -0.11, -0.15, -0.07)],
        },
        "ladder": {
            "total": change(-0.05, -0.06, -0.04), "pictures": 240, "sentence": "of -0.0500: -0.0490 network",
            "stages": [{"stage": "network", **change(-0.049, -0.06, -0.04)}, {"stage": "NMS", **change(-0.001, -0.01, 0.01)}],
        },
        "error_types": {"reference": {"class": 0.01, "missed": 0.02}, "candidate": {"class": 0.05, "missed": 0.02}},
        "layers": {
            "layers": [
                {"name": "/conv1", "operator": "Conv", "error": 0.0002, "expected": 0.0002, "ratio": 1.0},
                {"name": "/conv2", "operator": "Conv", "error": 0.2, "expected": 0.0002, "ratio": 1000.0},
                {"name": "/conv3", "operator": "Conv", "error": None, "expected": 0.0002, "ratio": None},
            ],
            "first": "/conv2", "k": 4.0, "mixed_precision": ["/conv2"], "pictures": ["1.jpg"],
        },
        "throughput": {
            "rates": [
                {"series": "batch8 pure", "images_per_second": 57.0, "published": 58, "accepted": [55.0, 59.0],
                 "champion": {"change": -1.2, "low": -1.9, "high": -0.5}},
                {"series": "batch8 stream", "images_per_second": 51.0, "published": None, "accepted": None, "champion": None},
            ],
            "history": '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><circle r="4"/></svg>',
        },
        "gateproof": {
            "sentence": "1 of 1 seeded defects caught, 1 of 1 harmless changes green",
            "cases": [
                {"name": "bgr", "what": "another order of channels", "control": False, "red": {"accuracy": "0.2"},
                 "named": ["accuracy"], "verdict": "caught"},
                {"name": "order", "what": "another order of ties", "control": True, "red": {}, "named": [], "verdict": "green"},
            ],
            "only": {"accuracy": ["bgr"]},
        },
    }  # fmt: skip
    return [{"kind": kind, "subject": "batch8", "data": data} for kind, data in kinds.items()]


@pytest.fixture
def document():
    """What `read_results` gives of a run that failed on the emulator: one red number, one undecided, one gate unjudged."""
    return {
        "schema_version": 3,
        "run": {
            "command": ["pytest", "tests/acceptance"], "options": "--pictures 20", "exit_status": 1, "gates": 4,
            "gates_not_run": 0, "seconds": 3.5, "started_at": "2026-01-02T03:04:05Z", "settings": {"npu": "emulated"},
        },
        "environment": {
            "python": "3.11", "platform": "Linux", "machine": "x86_64", "packages": {"numpy": "2", "mmdet": None},
            "device": {"stand_in": True, "soc_version": "Ascend310P3", "cann_version": "8.0-STAND-IN"},
        },
        "artifacts": [
            {"kind": "om", "key": "abc", "built": True, "files": {"model.om": "f" * 64}, "provenance": {"batch": 8}}
        ],
        "verdicts": [
            verdict(0.2, stand_in=True),
            verdict(0.37, "batch4", stand_in=True, interval=(0.3, 0.4)),
            verdict(0.5, "batch1", stand_in=True),
            verdict(0.5, "batch1", "speed", stand_in=True, limit=None),
        ],
        "unjudged": [{"test": "tests/acceptance/x.py::test_y", "phase": "setup", "outcome": "INFRA", "message": "no NPU"}],
        "evidence": evidence(),
    }  # fmt: skip
