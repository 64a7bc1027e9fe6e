"""Supported: refuses, in one sentence, a Python or a machine for which requirements.lock has no wheels.

`make` runs it with the Python that it is about to use, before pip is started; `tools/lock.py` locks for what is listed here.
It has to be readable by the Pythons that it refuses: neither annotations nor f-strings.
"""

import os
import platform
import sys
import sysconfig

PYTHONS = ((3, 10), (3, 11), (3, 12), (3, 13), (3, 14))
MACHINES = ("x86_64", "aarch64")
GLIBC = (2, 28)
"""The oldest C library that PyTorch's and onnxruntime's wheels load with."""


def here():
    """What this Python is and runs on, in the words that `problem` takes."""
    return {
        "python": sys.version_info[:2],
        "implementation": platform.python_implementation(),
        "threads": "free" if sysconfig.get_config_var("Py_GIL_DISABLED") else "",
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "system": platform.system(),
        "machine": platform.machine(),
        "libc": _libc(),
    }


def problem(python, implementation, threads, bits, system, machine, libc):
    """Why there is nothing to install for such a Python, and what to do, in one sentence; None if there is.

    `python` is (major, minor), `libc` the text of `confstr`, such as "glibc 2.36", empty where there is none.
    """
    name = ".".join(str(number) for number in python)
    first, last = (".".join(str(number) for number in pair) for pair in (PYTHONS[0], PYTHONS[-1]))
    other = "name one of Python {} to {} with `make PYTHON=python{}`".format(first, last, last)
    if system != "Linux":
        return "{} is not supported, only Linux is: use a Linux machine or a container".format(system or "this system")
    if machine not in MACHINES:
        return "the machine {} is not supported: use one of {}".format(machine or "without a name", ", ".join(MACHINES))
    if implementation != "CPython":
        return "{} is not supported, only CPython is: {}".format(implementation, other)
    if tuple(python) not in PYTHONS:
        return "Python {} is not supported: {}".format(name, other)
    if threads:
        return "Python {} without its global lock is not supported: {}".format(name, other)
    if bits != 64:
        return "a {}-bit Python is not supported: name one of 64 bits with `make PYTHON=...`".format(bits)
    if _numbers(libc) < GLIBC:
        needed = "glibc {}.{}".format(*GLIBC)
        return "{} is not supported, {} is needed: use a newer Linux or a container".format(
            libc or "a Linux without glibc", needed
        )
    return None


def _libc():
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):  # another C library, or no Unix
        return ""


def _numbers(libc):
    found = libc.split(" ")[-1].split(".")[:2] if libc.startswith("glibc ") else []
    return tuple(int(number) for number in found if number.isdigit())


if __name__ == "__main__":
    wrong = problem(**here())
    if wrong:
        sys.exit(wrong)
