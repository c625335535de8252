"""The commands of `python -m ganmut`."""
