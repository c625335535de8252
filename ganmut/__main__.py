"""`python -m ganmut`: the command line of `ganmut.cli`."""

import sys

from ganmut.cli import main

if __name__ == "__main__":
    sys.exit(main())
