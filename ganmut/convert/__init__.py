"""Converters from checkpoints that the authors of a method released to weights of this project.

ONE FILE = ONE FORMAT. `base.py` reads checkpoints, `stargan_trunk.py` maps the generator of StarGAN
and GANmut, `layer_matching.py` maps layers whose names are not published.
"""

from ganmut.convert.base import FORMATS, convert

__all__ = ["FORMATS", "convert"]
