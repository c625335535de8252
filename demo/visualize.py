"""What an edit changed, as pictures: the difference, the mask, the flow."""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image

from demo.components.gamut_pad import data_uri
from demo.service import EditedCrop
from demo.sessions.session import VIEW
from ganmut.encoding import MARK, draw_mark, is_marked
from ganmut.faces.align import resample
from ganmut.faces.paste_back import feather_mask

GAIN = 4.0  # how much brighter than it is a difference is shown
WARM = np.array([1.0, 0.62, 0.35], np.float32)  # its colour where it is strong


def jpeg(pixels: np.ndarray) -> str:
    """H x W x 3 uint8 as a data URI: nothing is written to disk for it."""
    return data_uri(Image.fromarray(pixels), "JPEG", quality=90)


def add_mark(pixels: np.ndarray) -> Image.Image:
    """The edited photograph (H x W x 3 uint8) for download: a small visible mark and a line of
    metadata, as `python -m ganmut edit` writes them."""
    picture = Image.fromarray(draw_mark(pixels) if is_marked() else pixels)
    picture.info["Comment"] = MARK
    return picture


def change_views(
    before: np.ndarray, after: np.ndarray, made: EditedCrop, to_crop: np.ndarray
) -> dict[str, str]:
    """{"difference", "mask", "flow"} as data URIs, "" for what the method has not.

    before, after: VIEW x VIEW x 3 uint8; to_crop: 3 x 3 from view to crop pixels.
    """
    inside = feather_mask(to_crop, len(made.edited), VIEW, VIEW)[..., None].astype(np.float32)
    dim = 0.25 * before.mean(-1, keepdims=True) * np.ones(3, np.float32)
    shown = {"difference": jpeg(difference(before, after)), "mask": "", "flow": ""}
    if made.mask is not None:
        share = resample(made.mask[..., None], to_crop, VIEW, VIEW).clip(0, 1) * inside
        shown["mask"] = jpeg(_bytes(dim + share * (255 - dim)))
    if made.flow is not None:
        flow = resample(made.flow, to_crop, VIEW, VIEW) * inside
        tint, share = flow_colours(flow, len(made.edited))
        shown["flow"] = jpeg(_bytes(dim + share * (tint - dim)))
    return shown


def difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """H x W x 3 uint8: black where nothing changed, GAIN times the change elsewhere."""
    change = np.abs(after.astype(np.float32) - before).mean(-1, keepdims=True) * GAIN
    return _bytes(change * (WARM + (1 - WARM) * (change / 255).clip(0, 1)))


def flow_colours(flow: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(colours H x W x 3 in 0..255, share H x W x 1 in 0..1): the hue says where to, the share how
    far; a twentieth of the crop's side is full colour."""
    hues = [colorsys.hsv_to_rgb(i / 64, 0.75, 1.0) for i in range(64)]
    colours = 255 * np.array(hues, np.float32)
    angle = np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1
    length = np.linalg.norm(flow, axis=-1, keepdims=True)
    return colours[(angle * 64).astype(int) % 64], (length / (size / 20)).clip(0, 1)


def _bytes(values: np.ndarray) -> np.ndarray:
    return values.round().clip(0, 255).astype(np.uint8)
