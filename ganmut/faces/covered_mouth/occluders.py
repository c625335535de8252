"""What covers a mouth in pictures: hands, face masks and objects, drawn over aligned photographs.

Photographs of covered mouths are rare where faces were collected by a detector, so the network that
notices them (network.py) learns from photographs that are covered here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ganmut.faces.covered_mouth.network import SIZE

# Outlines in the order of MediaPipe's face mesh.
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
NOSE = (197, 195, 5, 4)  # down the bridge to the tip: where a face mask ends
SIDES = ((234, 93, 132), (454, 323, 361))  # of the cheeks, before the ears
JAW = (172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397)
# Of the lips' area; what lies between counts as neither and is drawn again.
COVERED, FREE = 0.75, 0.05

Y, X = np.mgrid[:SIZE, :SIZE]


@dataclass(frozen=True)
class Occluder:
    """What lies over a picture: alpha 128 x 128 in 0..1 and its grey levels 128 x 128."""

    alpha: np.ndarray
    levels: np.ndarray

    def over(self, image: np.ndarray) -> np.ndarray:
        """uint8 128 x 128 of an image of the same size, under it."""
        mixed = image * (1 - self.alpha) + self.levels * self.alpha
        return mixed.clip(0, 255).astype(np.uint8)


class OccluderSource:
    """Draws random occluders.

    donors: uint8 N x 128 x 128, pictures whose pieces serve as textures.
    """

    def __init__(self, donors: np.ndarray, generator: np.random.Generator):
        self.donors, self.generator = donors, generator

    def covered(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
        """uint8 128 x 128: a picture whose mouth is covered; None where no draw covers it.

        landmarks: 478 x 2 px of the crop.
        """
        lips, centre = lips_area(landmarks), landmarks[list(LIPS)].mean(0)
        draws = (self.hand, self.face_mask, self.thing)
        for _ in range(20):
            kind = draws[self.generator.choice(3, p=(0.35, 0.25, 0.4))]
            occluder = kind(image, landmarks, centre + self.generator.normal(0, 5, 2))
            if lips.any() and occluder.alpha[lips].mean() > COVERED:
                return occluder.over(image)
        return None

    def beside(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """uint8 128 x 128: a picture with something anywhere but over the mouth."""
        lips = lips_area(landmarks)
        for _ in range(20):
            kind = self.hand if self.generator.random() < 0.35 else self.thing
            occluder = kind(image, landmarks, self.generator.uniform(5, SIZE - 5, 2))
            if not lips.any() or occluder.alpha[lips].mean() < FREE:
                return occluder.over(image)
        return image

    def hand(self, image: np.ndarray, landmarks: np.ndarray, centre: np.ndarray) -> Occluder:
        """Two to five fingers, half of the time with the palm, in the grey of the face's skin."""
        draw = self.generator
        skin = float(np.median(image[60:76, 40:88])) * draw.uniform(0.8, 1.25)
        angle = draw.uniform(-0.6, 0.6) + (0.0 if draw.random() < 0.5 else np.pi / 2)
        width, count = draw.uniform(8, 14), int(draw.integers(2, 6))
        along = (X - centre[0]) * np.cos(angle) + (Y - centre[1]) * np.sin(angle)
        across = (Y - centre[1]) * np.cos(angle) - (X - centre[0]) * np.sin(angle)
        inside = np.zeros((SIZE, SIZE), bool)
        levels = np.zeros((SIZE, SIZE))
        for finger in range(count):
            middle = (finger - (count - 1) / 2) * width * draw.uniform(0.9, 1.05)
            tip, root = draw.uniform(14, 40), -draw.uniform(40, 120)
            # A finger is round: darker towards its sides, and its tip is a bow.
            side = np.abs(across - middle) / (width / 2)
            bar = (side < 1) & (along < tip - width / 2 * side**2) & (along > root)
            levels[bar] = (skin * (1 - 0.35 * side**2))[bar]
            inside |= bar
        if draw.random() < 0.5:
            palm = (along < -10) & (along > -90) & (np.abs(across) < count * width / 2) & ~inside
            levels[palm] = skin * 0.9
            inside |= palm
        alpha = soften(Image.fromarray(inside.astype(np.uint8) * 255), 0.7)
        return Occluder(alpha, levels + draw.normal(0, 2, levels.shape))

    def face_mask(self, image: np.ndarray, landmarks: np.ndarray, centre: np.ndarray) -> Occluder:
        """Cloth from the nose to under the chin, light, dark or between, with folds."""
        draw = self.generator
        top = landmarks[draw.choice(NOSE)]
        left, right = (landmarks[draw.choice(side)] for side in SIDES)
        upper = [left, (left + top) / 2, top, (right + top) / 2, right]
        lower = [landmarks[i] + (0, draw.uniform(0, 5)) for i in reversed(JAW)]
        shape = Image.new("L", (SIZE, SIZE))
        ImageDraw.Draw(shape).polygon([tuple(map(float, p)) for p in upper + lower], fill=255)
        low, high = ((180, 250), (20, 70), (70, 200))[draw.integers(3)]
        x, y = X - landmarks[NOSE[-1], 0], Y - landmarks[NOSE[-1], 1]
        bend = 0.01 * draw.uniform(-0.3, 0.3) * x**2
        folds = draw.uniform(0, 10) * np.sin(y * draw.uniform(0.25, 0.5) + bend)
        shade = draw.uniform(0, 25) * (y / 40).clip(0, 2)
        levels = draw.uniform(low, high) * (1 - 0.25 * np.abs(x) / 50) + folds - shade
        return Occluder(soften(shape, 0.6), levels + draw.normal(0, 3, levels.shape))

    def thing(self, image: np.ndarray, landmarks: np.ndarray, centre: np.ndarray) -> Occluder:
        """A block, an ellipse or a bar (a microphone, a cup, a telephone) of a random texture."""
        draw = self.generator
        (x, y), (w, h) = centre.tolist(), draw.uniform(14, 40, 2).tolist()
        shape = Image.new("L", (SIZE, SIZE))
        pen = ImageDraw.Draw(shape)
        kind = int(draw.integers(3))
        if kind == 0:
            pen.rectangle((x - w, y - h, x + w, y + h), fill=255)
        elif kind == 1:
            pen.ellipse((x - w, y - h, x + w, y + h), fill=255)
        else:
            angle, back = draw.uniform(0, np.pi), 80 * draw.random()
            dx, dy = float(np.cos(angle)), float(np.sin(angle))
            ends = (x - back * dx, y - back * dy, x + 80 * dx, y + 80 * dy)
            pen.line(ends, fill=255, width=int(draw.uniform(14, 40)))
        if draw.random() < 0.5:
            shape = shape.rotate(draw.uniform(-40, 40), center=(x, y))
        return Occluder(soften(shape, draw.uniform(0.3, 2)), self.texture())

    def texture(self) -> np.ndarray:
        """128 x 128 grey levels: plain, a piece of another picture, stripes or clouds."""
        draw, size = self.generator, (SIZE, SIZE)
        kind = int(draw.integers(4))
        if kind == 0:
            return draw.uniform(0, 255) + draw.normal(0, draw.uniform(0, 8), size)
        if kind == 1:
            donor = self.donors[draw.integers(len(self.donors))]
            return np.roll(donor, draw.integers(-60, 60, 2), (0, 1)).astype(float)
        if kind == 2:
            angle, frequency = draw.uniform(0, np.pi), draw.uniform(0.1, 0.8)
            wave = np.sin(frequency * (X * np.cos(angle) + Y * np.sin(angle)))
            return draw.uniform(40, 220) + draw.uniform(5, 50) * wave
        noise = Image.fromarray(draw.integers(0, 256, size, dtype=np.uint8))
        clouds = 255 * soften(noise, draw.uniform(1, 6))
        return (clouds - clouds.mean()) * draw.uniform(1, 4) + draw.uniform(30, 225)


def lips_area(landmarks: np.ndarray) -> np.ndarray:
    """bool 128 x 128: the lips and what lies between them."""
    area = Image.new("L", (SIZE, SIZE))
    outline = [tuple(map(float, point)) for point in landmarks[list(LIPS)]]
    ImageDraw.Draw(area).polygon(outline, fill=255)
    return np.asarray(area) > 0


def soften(shape: Image.Image, radius: float) -> np.ndarray:
    """A shape of 0 and 255 as shares in 0..1 with a soft border; radius: px."""
    return np.asarray(shape.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255
