"""The defect that this process plays. Python imports this in every process that has its folder on PYTHONPATH."""

import os

if os.environ.get("FCOS_DEFECT"):
    from tests.gateproof.inject import install

    install(os.environ["FCOS_DEFECT"], os.environ["FCOS_DEFECT_TRACE"])
