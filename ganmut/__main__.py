"""`python -m ganmut` and the console script `ganmut`: the command line of `ganmut.cli`."""

from typing import NoReturn

from ganmut import interrupts


def main() -> int:
    """The status of the command line."""
    from ganmut.cli import main as run  # a signal during this import has its sentence too

    return run()


def start() -> NoReturn:
    """Ends the process with the status of the command line."""
    interrupts.run(main)


if __name__ == "__main__":
    start()
