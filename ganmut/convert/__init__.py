"""Checkpoints that the authors of a method released, turned into weights of ours.

ONE FILE = ONE FORMAT. `base.py` reads checkpoints, `trunk.py` knows the generator that three of the
formats share, `pile.py` matches layers whose names are not published.
"""

from ganmut.convert.base import FORMATS, convert

__all__ = ["FORMATS", "convert"]
