"""`python -m ganmut`: the command line of `ganmut.cli`."""

from ganmut import interrupts


def main() -> None:
    """Ends the process with the status of the command line."""
    interrupts.install()
    from ganmut.cli import main as run  # a signal during this import has its sentence too

    interrupts.leave(run())


if __name__ == "__main__":
    main()
