"""Edits of videos that go on after a kill: encoded frames stay on disk by the segment until the
clip is complete.

A segment is encoded by itself, so that its bytes do not depend on where an edit was interrupted.
`resumable` joins them to the clip and copies the sound of the source.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import load, save

from ganmut.files import UNSEALED, DamagedFile, folder_lock, replacement, seal, unseal, write_atomic
from ganmut.json_files import parse_json
from ganmut.video.reading import Clip, open_clip, pyav
from ganmut.video.writing import ClipWriter, write_clip

SEGMENT = 100  # frames, four seconds: what a kill loses


class SegmentWriter(ClipWriter):
    """Encodes frames to files of a folder, SEGMENT each. done: frames that whole segments of an
    earlier run hold; state: what that run gave to `checkpoint` after them, empty at the start;
    whole: segments from which an edit can go on, by now."""

    def __init__(self, folder: Path, key: str, suffix: str, clip: Clip):
        self.folder, self.key, self.suffix, self.clip = folder, key, suffix, clip
        self.done, self.state, self.paths = 0, {}, []
        last = -1
        for path in sorted(folder.glob("*.safetensors")):
            try:
                state, packets = read_segment(path, key)
            except DamagedFile:  # or of other settings: from here on everything is made anew
                break
            if not state:  # the last one, which ends with the clip
                break
            self.paths.append(path)
            self.done, self.state = self.done + len(packets["pts"]), state
            last = int(packets["pts"].max())
        self.whole = len(self.paths)
        self._begin(last)

    def _begin(self, last: int) -> None:
        """Starts a segment behind a frame with the time `last`, in ticks."""
        super().__init__(io.BytesIO(), self.suffix, self.clip)
        self.packets: list[Any] = []
        self.last, self.frames = last, 0

    def write(self, pixels: np.ndarray, time: Fraction, duration: Fraction) -> None:
        super().write(pixels, time, duration)
        self.frames += 1

    def put(self, packet: Any) -> None:
        self.packets.append(packet)

    def write_sound(self, packet: Any) -> None:
        """Does nothing: sound is copied when the clip is joined."""

    def checkpoint(self, make_state: Callable[[], dict[str, Any]]) -> bool:
        """Ends the segment where it is full: it is then on disk with the state."""
        if self.frames < SEGMENT:
            return False
        self.finish(make_state())
        self.whole += 1
        self._begin(self.last)
        return True

    def finish(self, state: dict[str, Any]) -> None:
        """Writes the segment, if it holds frames, with what the next one starts from: {} for the
        last one."""
        for packet in self.stream.encode() if self.frames else ():
            self.put(packet)
        self.container.close()
        if not self.packets:
            return
        path = self.folder / f"{len(self.paths):06}.safetensors"
        tensors = {
            "data": np.frombuffer(b"".join(map(bytes, self.packets)), np.uint8),
            "sizes": np.array([packet.size for packet in self.packets]),
            "pts": np.array([packet.pts for packet in self.packets]),
            "durations": np.array([packet.duration or 0 for packet in self.packets]),
            "keys": np.array([packet.is_keyframe for packet in self.packets]),
        }
        facts = {"key": self.key, "state": json.dumps(state), "sha256": UNSEALED}
        self.paths.append(write_atomic(path, seal(save(tensors, facts))))


def read_segment(path: Path, key: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(state, packets) of a segment. Raises DamagedFile for a file that is damaged, or that an edit
    with another key wrote."""
    data = unseal(path)
    try:
        with safetensors.safe_open(path, "np") as file:
            facts = file.metadata()
        state, packets = parse_json(facts["state"]), load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DamagedFile(f"{path} is damaged: {error}") from None
    if facts.get("key") != key or "pts" not in packets:
        raise DamagedFile(f"{path} is of another edit")
    return state, packets


@contextmanager
def resumable(out: Path, suffix: str, clip: Clip, key: str) -> Iterator[SegmentWriter]:
    """A SegmentWriter for the video `out`, which is written afterwards, whole or not at all.

    key: names source and settings; segments of another key are not used. The segments stay after an
    interruption and an error of the system (a full disk), in the folder .NAME.parts beside `out`.
    Raises InUse where another process writes there.
    """
    folder = out.with_name(f".{out.name}.parts")
    keep = False
    with _parts_of(out, folder), folder_lock(folder):
        writer = SegmentWriter(folder, key, suffix, clip)
        for path in set(folder.glob("*.safetensors")) - set(writer.paths):
            path.unlink()
        try:
            yield writer
            writer.finish({})
            with replacement(out) as temporary, open_clip(clip.path) as source:
                _join(temporary, suffix, source, writer.paths, key)
        except (OSError, KeyboardInterrupt):
            keep = writer.whole > 0
            raise
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _parts_of(out: Path, folder: Path) -> Iterator[None]:
    """Gives errors of the system about files of a folder the name of `out`, which people know, and
    removes the folder where it is empty."""
    try:
        yield
    except OSError as error:
        if error.errno and (not error.filename or folder in Path(error.filename).parents):
            raise OSError(error.errno, os.strerror(error.errno), str(out)) from None
        raise
    finally:
        with suppress(OSError):  # it holds segments, or is gone
            folder.rmdir()


def _join(path: Path, suffix: str, source: Clip, segments: list[Path], key: str) -> None:
    """Writes a clip of segments and of the sound of its source."""
    times = [read_segment(segment, key)[1]["pts"] for segment in segments]
    decode_times = iter(_decode_times(times))
    sound: Iterator[Any] = iter(())
    if source.sound is not None:
        packets = source.stream.container.demux(source.sound)
        sound = (packet for packet in packets if packet.dts is not None)
    heard = next(sound, None)
    with write_clip(path, suffix, source) as writer:
        for segment in segments:
            for packet in _packets(read_segment(segment, key)[1]):
                packet.dts, packet.time_base = next(decode_times), writer.step
                packet.stream = writer.stream
                # Both by time: what comes early waits in memory.
                while heard is not None and heard.dts * heard.time_base <= packet.dts * writer.step:
                    writer.write_sound(heard)
                    heard = next(sound, None)
                writer.put(packet)
                writer.file.check()
        for rest in chain([] if heard is None else [heard], sound):
            writer.write_sound(rest)


def _packets(stored: dict[str, np.ndarray]) -> Iterator[Any]:
    ends = list(accumulate(stored["sizes"].tolist(), initial=0))
    rows = zip(pairwise(ends), stored["pts"], stored["durations"], stored["keys"], strict=True)
    for (start, end), pts, duration, is_key in rows:
        packet = pyav().Packet(stored["data"][start:end].tobytes())
        packet.pts, packet.duration, packet.is_keyframe = int(pts), int(duration), bool(is_key)
        yield packet


def _decode_times(times: list[np.ndarray]) -> list[int]:
    """When each packet is decoded, in ticks, rising: encoders count from the start of each segment,
    and these counts may overlap. times: when the frames of each segment are shown, in the order of
    decoding; all of a segment come before all of the next."""
    # How many frames a frame may be decoded before its turn.
    delay = max(int((np.arange(len(t)) - t.argsort().argsort()).max()) for t in times)
    shown = np.sort(np.concatenate(times))
    if not delay:
        return shown.tolist()
    before = shown[:delay] - (shown[min(delay, len(shown) - 1)] - shown[0])
    return np.concatenate([before, shown[: len(shown) - delay]]).tolist()
