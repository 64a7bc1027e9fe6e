"""`python -m fcos_lib`: every line of the recipe by hand; see `fcos_lib.cli.main`."""

import sys

from fcos_lib.cli.main import main

if __name__ == "__main__":  # worker processes import this module too
    sys.exit(main())
