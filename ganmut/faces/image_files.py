"""Edits image files, clips and folders, and writes a JSON line per edited face or clip beside the
results."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ganmut.decoding import SUFFIXES, BadImage, is_picture_name, read_picture
from ganmut.editor import Editor
from ganmut.encoding import WRITABLE, encode_edit, losses
from ganmut.errors import ParameterError, UnusableFace
from ganmut.faces.detectors.base import NoFace
from ganmut.faces.pipeline import EditedImage, EditSettings, open_detector, turn_note
from ganmut.files import (
    append_lines,
    folder_lock,
    read_lines,
    remove_temporaries,
    to_line,
    to_text,
    write_atomic,
)
from ganmut.folders import real_path, stamp, walk_files
from ganmut.video.editing import edit_clip
from ganmut.video.reading import VIDEOS, is_clip, is_clip_name
from ganmut.video.tracking import check_face
from ganmut.video.writing import WRITABLE as CLIPS
from ganmut.weights import BadWeights, load
from ganmut.workers import check_count, map_items


def edit_files(
    paths: Iterable[str | Path],
    settings: EditSettings,
    out: str | Path,
    *,
    progress: bool = True,
    workers: int = 1,
) -> list[dict[str, Any]]:
    """Edits files and all images and videos of folders; returns a record per edited face, and one
    per clip, see `edit_clip`.

    out: a folder (created where needed; PNG files with the inputs' names, videos as MP4 or in their
    own format), or for one image or clip a file in any of WRITABLE or CLIPS. An animation becomes a
    clip where `out` names a format of clips, else its first frame is edited. A path over time needs
    clips. Outside the faces the values of each image stay, and the mark is added: see
    `encode_edit`. The records are also written as JSON lines (out/faces.jsonl, or FILE.jsonl).
    Of several images, those that cannot be edited are skipped and have a record with "error", and
    out/faces.jsonl is a log: after an interruption the next run with the same settings continues
    from it, and edits changed images again. For a single image its BadImage, NoFace or
    UnusableFace is raised.
    workers: processes that share several images; order and results are those of one. Raises
    ParameterError for an output that cannot be written, InUse where another process writes there.
    """
    inputs, out = collect_images(paths, Path(out)), Path(out)
    single = len(inputs) == 1 and not any(Path(path).is_dir() for path in paths)
    targets, records_file = plan_outputs(inputs, out, single)
    open_detector(settings.detector)  # a missing detector fails before any work
    pairs = [(path, target) for (path, _), target in zip(inputs, targets, strict=True)]
    check_targets(pairs, settings)
    check_workers(workers, settings.editor, len(inputs))
    edit = FileEdit(settings, settings.digest(), progress)
    if len(inputs) == 1:
        records = edit(*pairs[0])
        write_json_lines(records_file, records)
        remove_temporaries(records_file.parent)  # of a killed run
        return records
    with folder_lock(out):
        remove_temporaries(out, recursive=True)
        return edit_logged(pairs, records_file, edit, workers)


@dataclass(frozen=True)
class FileEdit:
    """What one call of `edit_files` does with each file. digest: of the settings, in the records;
    progress: whether clips and folders show a bar."""

    settings: EditSettings
    digest: str
    progress: bool

    def __call__(self, path: Path, target: Path) -> list[dict[str, Any]]:
        """The records of a file, after its edit is written. Raises BadImage, NoFace and
        UnusableFace."""
        read = stamp(path)  # before the image is read: it may be replaced meanwhile
        reading = {"settings": self.digest, "stamp": read}
        detector, face = self.settings.detector, self.settings.face
        if becomes_clip(path, target):
            facts = edit_clip(path, self.settings, target, progress=self.progress)
            names = {"file": str(path), "out": str(target), "detector": detector, "face": face}
            return [{**names, "edited": 1, **facts, **reading}]
        picture = read_picture(path)
        edited = self.settings.edit(picture.pixels)
        file_format = WRITABLE[target.suffix.lower()]
        write_atomic(target, encode_edit(picture, edited.pixels, file_format))
        notes = [*picture.notes, *losses(picture, file_format)]
        records = _records(path, target, edited, detector, notes)
        return [record | reading for record in records]

    def attempt(self, path: Path, target: Path) -> list[dict[str, Any]]:
        """The records of a file, or one with the reason why it cannot be edited."""
        try:
            return self(path, target)
        except (BadImage, NoFace, UnusableFace) as error:
            message = str(error) if str(path) in str(error) else f"{path}: {error}"
            failure = {"file": str(path), "error": message, "settings": self.digest}
            return [failure | {"stamp": stamp(path)}]

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker process reads the weight itself: networks hold what cannot be sent.
        sent = dict(vars(self.settings))
        editor = sent.pop("editor")
        weight = editor.folder, str(editor.device), editor.config.get("sha256")
        return SentEdit, (weight, sent, self.digest)


@dataclass(frozen=True)
class SentEdit:
    """A FileEdit in another process, opened with its first file: what is wrong with the weight by
    then is raised where the parent hears it. weight: its folder, device and sha256."""

    weight: tuple[Path, str, str | None]
    settings: dict[str, Any]
    digest: str

    @cached_property
    def opened(self) -> FileEdit:
        """The FileEdit, without progress bars. Raises BadWeights where the weight has changed."""
        folder, device, sha256 = self.weight
        editor = load(folder, device) if folder.is_dir() else None
        if editor is None or editor.config.get("sha256") != sha256:
            raise BadWeights(f"{folder} changed while it was used; run the same command again")
        return FileEdit(EditSettings(editor, **self.settings), self.digest, progress=False)

    def attempt(self, path: Path, target: Path) -> list[dict[str, Any]]:
        """See `FileEdit.attempt`."""
        return self.opened.attempt(path, target)


def edit_logged(
    work: list[tuple[Path, Path]],
    log: Path,
    edit: FileEdit,
    workers: int = 1,
) -> list[dict[str, Any]]:
    """Edits the (image, output) pairs that the log does not hold yet, and returns the records of
    all. Each image's records are appended as soon as its output is written."""
    found, invalid = read_lines(log)
    done: dict[str, list[dict[str, Any]]] = {}
    for record in found:
        if record.get("settings") == edit.digest:
            done.setdefault(str(record.get("file")), []).append(record)
    kept = {str(p): done[str(p)] for p, t in work if _is_current(done.get(str(p), []), p, t)}
    written = [record for records in kept.values() for record in records]
    if invalid or written != found:
        write_atomic(log, "".join(map(to_line, written)))
    if kept and edit.progress:
        print(f"{len(kept)} of {len(work)} images were done by an earlier run", file=sys.stderr)
    skipped = 0
    bar = tqdm(total=len(work), initial=len(kept), unit="picture", disable=not edit.progress)
    left = [(path, target) for path, target in work if str(path) not in kept]
    with bar, closing(map_items(edit.attempt, left, workers)) as results:
        for (path, _), records in zip(left, results, strict=True):
            kept[str(path)] = records
            append_lines(log, records)
            written += records
            skipped += "error" in records[0]
            bar.set_postfix_str(f"{skipped} skipped" if skipped else "")
            bar.update()
    records = [record for path, _ in work for record in kept[str(path)]]
    if written != records:  # in the order of the images
        write_atomic(log, "".join(map(to_line, records)))
    return records


def becomes_clip(path: Path, target: Path) -> bool:
    """Whether an input becomes a clip: a video, or an animation whose output may hold one."""
    return is_clip_name(path) or (target.suffix.lower() in CLIPS and is_clip(path))


def check_targets(pairs: Iterable[tuple[Path, Path]], settings: EditSettings) -> None:
    """Raises ParameterError for a target that some of the (input, output) pairs cannot have."""
    clips = {path: becomes_clip(path, target) for path, target in pairs}
    if any(clips.values()):
        check_face(settings.face)
    if settings.path is not None and not all(clips.values()):
        picture = next(path for path, clip in clips.items() if not clip)
        raise ParameterError(
            "path", f"{picture} is edited as one picture: a path over time needs clips"
        )


def check_workers(workers: int, editor: Editor, images: int) -> None:
    """Raises ParameterError for processes that could do nothing."""
    check_count(workers)
    if workers > 1 and images == 1:
        raise ParameterError("workers", "one image or clip is edited by one process")
    if workers > 1 and editor.folder is None:
        raise ParameterError("workers", "several processes need an editor of a weight folder")


def _is_current(records: list[dict[str, Any]], path: Path, target: Path) -> bool:
    """Whether an image is unchanged since its records, all of them are there, and its output is."""
    if not records or any(record.get("stamp") != stamp(path) for record in records):
        return False
    if "error" in records[0]:
        return True
    whole = len(records) == records[0].get("edited")
    return whole and target.is_file() and all(r.get("out") == str(target) for r in records)


def collect_images(paths: Iterable[str | Path], out: Path) -> list[tuple[Path, Path]]:
    """(image file, its relative output path) of files, and of folders with their subfolders.

    Of a folder, every file with the suffix of a picture or a video is among them, also in formats
    that are not read and where it is no regular file: such files get a record with the reason.
    Hidden files and those of systems are left out of folders (`walk_files`), and files below `out`:
    they are the results of earlier runs. Raises BadImage for a path that does not exist and where
    there are no images, ParameterError where a folder is `out`.
    """
    found: list[tuple[Path, Path]] = []
    for path in map(Path, paths):
        if path.is_dir() and real_path(path) == real_path(out):
            raise ParameterError("out", f"{out} is the folder of the input images")
        if path.is_dir():
            found += [
                (file, file.relative_to(path))
                for file in walk_files(path)
                if (is_picture_name(file) or is_clip_name(file))
                and not real_path(file).is_relative_to(real_path(out))
            ]
        elif path.exists():
            found.append((path, Path(path.name)))
        else:
            raise BadImage(f"{path}: there is no such file or folder")
    if not found:
        where = ", ".join(str(path) for path in paths) or "nothing"
        raise BadImage(f"{where}: no images; known formats are {', '.join(SUFFIXES + VIDEOS)}")
    return found


def plan_outputs(
    inputs: list[tuple[Path, Path]], out: Path, single: bool
) -> tuple[list[Path], Path]:
    """(output file of each image, file of the records).

    Raises ParameterError for an output that has no known format, is not writable, or would
    overwrite an input.
    """
    one = single and bool(out.suffix) and not out.is_dir()
    known = _writable(inputs[0][0])
    if one and out.suffix.lower() not in known:
        if out.suffix.lower() in CLIPS:
            read_picture(inputs[0][0], longest=64)  # damaged ones have no frames to count
        expected = f"expected one of {', '.join(known)}, or a folder"
        raise ParameterError("out", f"cannot write {inputs[0][0]} as {out}; {expected}")
    is_file_name = out.suffix.lower() in {**WRITABLE, **CLIPS}
    if not one and (out.is_file() or (is_file_name and not out.is_dir())):
        raise ParameterError("out", f"{out} is a file, but there are {len(inputs)} images")
    names = [] if one else output_names([name for _, name in inputs])
    targets = [out] if one else [out / name for name in names]
    originals = {real_path(path) for path, _ in inputs}
    for (path, _), target in zip(inputs, targets, strict=True):
        beside = target.exists() and real_path(target.parent) == real_path(path.parent)
        if real_path(target) in originals or (beside and not one):
            raise ParameterError("out", f"{target} would overwrite an input image")
    parent = next(folder for folder in [out, *out.absolute().parents] if folder.is_dir())
    if not os.access(parent, os.W_OK):
        raise ParameterError("out", f"{parent} is not writable")
    return targets, out.with_suffix(".jsonl") if one else out / "faces.jsonl"


def _writable(path: Path) -> list[str]:
    """Suffixes of the files that an input may be written to."""
    if is_clip_name(path):
        return list(CLIPS)
    return [*WRITABLE, *(suffix for suffix in CLIPS if suffix not in WRITABLE and is_clip(path))]


def output_names(names: list[Path]) -> list[Path]:
    """Distinct names of outputs, PNG and for videos MP4 or their own suffix: a.jpg and a.bmp of one
    folder become a.jpg.png and a.bmp.png.

    Raises ValueError where a name occurs twice.
    """
    plain = [name.with_suffix(_output_suffix(name)) for name in names]
    count = Counter(plain)
    unique = [
        short if count[short] == 1 else name.with_name(name.name + short.suffix)
        for name, short in zip(names, plain, strict=True)
    ]
    twice, number = Counter(unique).most_common(1)[0]
    if number > 1:
        raise ValueError(f"two images would both be written as {twice}; edit them one by one")
    return unique


def _output_suffix(name: Path) -> str:
    if not is_clip_name(name):
        return ".png"
    return name.suffix.lower() if name.suffix.lower() in CLIPS else ".mp4"


def write_json_lines(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Writes rows as JSON lines, atomically; removes the file where there are no rows."""
    text = "".join(to_text(row) + "\n" for row in rows)
    if text:
        return write_atomic(path, text)
    path.unlink(missing_ok=True)
    return path


def _records(
    path: Path, target: Path, edited: EditedImage, detector: str, notes: list[str]
) -> list[dict[str, Any]]:
    """A record per edited face; notes: sentences on the picture."""
    notes = [*notes, *turn_note(edited.faces[edited.numbers[0] - 1])]
    more = {"notes": notes} if notes else {}
    return [
        {
            "file": str(path),
            "out": str(target),
            "detector": detector,
            "face": number,
            "of": len(edited.faces),
            "edited": len(edited.numbers),
            "score": round(face.score, 4),
            "box": [round(value, 2) for value in face.box],
            "points": [[round(value, 2) for value in point] for point in face.points.tolist()],
            **more,
        }
        for number in edited.numbers
        for face in [edited.faces[number - 1]]
    ]
