"""What a picture file states beside its pixels: how they are stored, their range, how they lie."""

from __future__ import annotations

from typing import Any

from PIL import Image

ORIENTATION = 0x0112  # EXIF tag
# EXIF orientation -> (quarter turns of np.rot90, whether to mirror left to right afterwards).
UPRIGHT = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True)}
UPRIGHT[8] = (1, False)


def raw_mode(file: Image.Image) -> str:
    """How the file stores a pixel, such as "RGB;16B"; "" where its decoder does not say."""
    tiles = getattr(file, "tile", None) or [(None, None, None, "")]
    args = tiles[0][3]
    raw = str(args[0] if isinstance(args, tuple) and args else args)
    deep = file.format == "PPM" and isinstance(args, tuple) and max(args[1:], default=0) > 255
    return f"{raw};16B" if deep else raw


def shown_frames(file: Image.Image) -> range:
    """The numbers of an opened file's frames that are shown in time: the first image of an APNG may
    be for readers that know no animations."""
    return range(bool(getattr(file, "default_image", False)), int(getattr(file, "n_frames", 1)))


def range_tags(file: Image.Image) -> tuple[float | None, float | None, bool]:
    """(black, white, whether white is zero) as the file states them, None where it does not."""
    if file.format == "PPM":  # Pillow scales by the header's maximum
        return 0.0, (65535.0 if file.mode.startswith("I") else 1.0), False
    tags = getattr(file, "tag_v2", None)
    if tags is None:
        return None, None, False

    def value(*names: int) -> float | None:
        found: Any = next((tags[name] for name in names if name in tags), None)
        found = found[0] if isinstance(found, tuple) and found else found
        return None if found is None else float(found)

    # MinSampleValue, MaxSampleValue of whole numbers; SMinSampleValue, SMaxSampleValue of any.
    black, white = value(340, 280), value(341, 281)
    if white is None and tags.get(258, (0,))[0] == 12:  # BitsPerSample
        black, white = 0.0, 4095.0
    return black, white, tags.get(262) == 0  # PhotometricInterpretation


def orientation(file: Image.Image) -> int:
    try:
        return int(file.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001 (a damaged EXIF block does not affect the pixels)
        return 1
