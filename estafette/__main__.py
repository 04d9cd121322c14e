"""`python -m estafette`: the command line."""

import sys

from estafette.cli import main

if __name__ == "__main__":
    sys.exit(main())
