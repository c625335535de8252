"""Photographs with landmarks: what the landmark network and the expression model are fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ganmut.datasets.base import BadData
from ganmut.datasets.folder import read_table
from ganmut.errors import describe_error, first_line
from ganmut.expression.point_set import CONTROLS, MESH, SIZE, PointSet
from ganmut.files import DamagedFile, require_file
from ganmut.images import read_image
from ganmut.json_files import read_json
from ganmut.text import quote


@dataclass(frozen=True)
class LandmarkSet:
    """Aligned grey photographs with what is known of each.

    points: the scheme of the P landmarks and K controls. images: uint8 N x 128 x 128; landmarks:
    float32 N x P x 2, (x, y) in pixels of the crop, which spans 0..128: the centre of pixel i lies
    at i + .5; pose: float32 N x 3, yaw, pitch, roll in radians; expression: float32 N x K in 0..1;
    emotion, person: N names, "" where unknown; posed: bool N, whether the expression was drawn at
    random and says nothing of how people look.
    """

    points: PointSet

    images: Tensor
    landmarks: Tensor
    pose: Tensor
    expression: Tensor
    emotion: tuple[str, ...]
    person: tuple[str, ...]
    posed: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Tensor) -> LandmarkSet:
        """The faces of an int64 or bool vector of rows."""
        indices = torch.arange(len(self))[rows].tolist()
        return LandmarkSet(
            self.points,
            self.images[rows],
            self.landmarks[rows],
            self.pose[rows],
            self.expression[rows],
            tuple(self.emotion[i] for i in indices),
            tuple(self.person[i] for i in indices),
            self.posed[rows],
        )


def expression_of(blendshapes: np.ndarray, names: tuple[str, ...] | list[str]) -> np.ndarray:
    """float32 N x 22 (order of CONTROLS) of N x len(names) blendshapes; raises BadData where one
    that is needed is missing."""
    columns = []
    for control in CONTROLS:
        # Edits have no side: the mean of left and right, or the one value of a middle part.
        sides = [
            names.index(n) for n in (control, f"{control}Left", f"{control}Right") if n in names
        ]
        if not sides:
            raise BadData(f"the blendshape {control} is missing; expressions need all of CONTROLS")
        columns.append(blendshapes[:, sides].mean(1))
    return np.stack(columns, 1).astype(np.float32)


def read_landmark_set(
    folder: str | Path,
    split: str,
    *,
    min_fill: float = 0.6,
    min_score: float = 4.0,
    progress: bool = True,
) -> LandmarkSet:
    """The photographs of one split of a folder with landmarks.

    folder: `metadata.jsonl` (rows with file_name, split, blendshapes, and, where known, emotion,
    person, fill), `blendshape_names.json` and `landmarks.npz` (landmarks N x 478 x 2, pose N x 3,
    score N, in the order of the rows). Rows with less than `min_fill` of the crop covered by the
    picture, with a presence logit of `min_score` or less, or with landmarks or a pose that are not
    finite are left out. Raises BadData.
    """
    folder = Path(folder)
    rows, names, arrays = _read_tables(folder)
    score, landmarks = arrays["score"], arrays["landmarks"].astype(np.float32)
    # A low presence logit is a hand, a back or a profile whose landmarks were made up.
    sound = (score > min_score) & np.isfinite(landmarks).all((1, 2))
    sound &= np.isfinite(arrays["pose"]).all(1)
    keep = [
        i
        for i, row in enumerate(rows)
        if row.get("split", "train") == split and row.get("fill", 1) >= min_fill and sound[i]
    ]
    if not keep:
        raise BadData(f"{folder}: no usable photograph in split {quote(split)}")
    images = np.empty((len(keep), SIZE, SIZE), np.uint8)
    for n, i in enumerate(tqdm(keep, unit="photo", disable=not progress, leave=False)):
        picture = Image.fromarray(read_image(folder / rows[i]["file_name"]))
        if picture.size != (SIZE, SIZE):
            raise BadData(f"{rows[i]['file_name']} is {picture.size} px, expected {SIZE}")
        images[n] = np.asarray(picture.convert("L"))
    blendshapes = np.array([rows[i]["blendshapes"] for i in keep], np.float32)
    return LandmarkSet(
        MESH,
        torch.from_numpy(images),
        torch.from_numpy(landmarks[keep]),
        torch.from_numpy(arrays["pose"][keep].astype(np.float32)),
        torch.from_numpy(expression_of(blendshapes, names)),
        tuple(rows[i].get("emotion") or "" for i in keep),
        tuple(rows[i].get("person") or "" for i in keep),
        torch.zeros(len(keep), dtype=torch.bool),
    )


def _read_tables(folder: Path) -> tuple[list[dict], list[str], dict[str, np.ndarray]]:
    """The rows of metadata.jsonl, the blendshapes' names and the arrays of landmarks.npz, of which
    each row has its own."""
    metadata = folder / "metadata.jsonl"
    try:
        table = list(read_table(metadata))
        names = read_json(folder / "blendshape_names.json")
        arrays = _read_arrays(folder / "landmarks.npz")
    except (OSError, ValueError) as error:
        raise BadData(
            f"{describe_error(error)}; a folder of photographs with landmarks holds "
            "metadata.jsonl, blendshape_names.json and landmarks.npz"
        ) from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadData(f"{folder}/blendshape_names.json is no list of names")
    for number, row in table:
        values = row.get("blendshapes")
        fits = (
            isinstance(values, list) and len(values) == len(names) and all(map(_is_share, values))
        )
        if (
            not fits
            or not isinstance(row.get("file_name"), str)
            or not _is_share(row.get("fill", 1))
        ):
            raise BadData(
                f"{metadata} line {number} needs a file_name, {len(names)} blendshapes from 0 to 1 "
                "and, if any, a fill from 0 to 1"
            )
    expected = {"landmarks": (len(table), MESH.count, 2), "pose": (len(table), 3)}
    expected["score"] = (len(table),)
    for name, shape in expected.items():
        if arrays[name].shape != shape or arrays[name].dtype.kind not in "fiu":
            raise BadData(
                f"{folder}/landmarks.npz: {name} is {arrays[name].dtype} {arrays[name].shape}, "
                f"expected numbers {shape}, a row for each of metadata.jsonl"
            )
    return [row for _, row in table], names, arrays


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with open(require_file(path), "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in ("landmarks", "pose", "score")}
    except (OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 (zipfile, zlib and numpy raise anything at damage)
        raise DamagedFile(f"{path} is damaged ({first_line(error)})") from None


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1
