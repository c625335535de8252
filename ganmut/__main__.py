"""`python -m ganmut`: the command line of `ganmut.cli`."""

from ganmut import interrupts


def main() -> int:
    """The status of the command line."""
    from ganmut.cli import main as run  # a signal during this import has its sentence too

    return run()


if __name__ == "__main__":
    interrupts.run(main)
