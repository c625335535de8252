"""Protocol: how many faces, which codes, which seed. Protocols are named, versioned and hashed, so
that results of two protocols are never mixed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace

import numpy as np

from ganmut.registry import UnknownNameError, did_you_mean
from ganmut.text import quote

VERSION = 4  # raised whenever the meaning of a field, or how faces and codes are drawn, changes


@dataclass(frozen=True)
class Protocol:
    """The sample sizes and the seed of one leaderboard.

    n_test: source faces of FED, one edit each; as many others form the row real_split. n_fid: how
    many of these edits FID uses (Inception is the slowest network). n_accuracy: faces edited to
    every emotion (accuracy, AU error, identity distance, ground-truth L1, edit localisation).
    n_smooth: faces whose path from neutral to every emotion is edited in `steps` pictures. n_ere:
    faces from which ERE draws its targets, in whole batches of `ere_batch`, one target a batch; the
    first `ere_edited` of every batch are edited. budget: largest number of codes searched for ERE,
    and the number that every method gets in its equal-budget part (the papers search 441 at most).
    replicates: bootstrap draws. chart_faces, chart_side: faces and grid of the gamut maps.
    """

    name: str
    n_test: int
    n_fid: int
    n_accuracy: int
    n_smooth: int
    n_ere: int
    replicates: int = 2000
    steps: int = 11
    ere_batch: int = 16
    ere_edited: int = 16
    budget: int = 441
    chart_faces: int = 6
    chart_side: int = 21
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_ere % self.ere_batch:
            raise ValueError(f"n_ere must be a multiple of {self.ere_batch}, got {self.n_ere}")
        if not 1 <= self.ere_edited <= self.ere_batch:
            raise ValueError(f"ere_edited must be in 1..{self.ere_batch}, got {self.ere_edited}")
        largest = max(self.n_fid, self.n_accuracy, self.n_smooth, self.n_ere, self.chart_faces)
        if largest > self.n_test:
            raise ValueError(
                f"n_test must be the largest number of faces, got {self.n_test} < {largest}"
            )

    def ere_batches(self, n: int) -> np.ndarray:
        """batches x ere_batch: positions of ERE's faces among n test faces."""
        whole = min(n, self.n_ere) // self.ere_batch * self.ere_batch
        return np.arange(whole).reshape(-1, self.ere_batch)

    def ere_faces(self, n: int) -> np.ndarray:
        """`[faces]`: positions of the faces that ERE edits, among n test faces."""
        return self.ere_batches(n)[:, : self.ere_edited].ravel()

    @property
    def hash(self) -> str:
        """12 hex digits: a hash of every field except the name, and of VERSION."""
        fields = {**asdict(self), "version": VERSION}
        del fields["name"]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]

    def describe(self) -> str:
        """One line with name, version, hash and sizes."""
        return (
            f"{self.name} (version {VERSION}, {self.hash}): {self.n_test} faces for FED, "
            f"{self.n_fid} for FID, {self.n_accuracy} under "
            f"every emotion, {self.n_smooth} for smoothness, "
            f"{len(self.ere_faces(self.n_ere))} for ERE with "
            f"{len(self.ere_batches(self.n_ere))} targets, seed {self.seed}"
        )


# "paper" follows GANmut, section 5: 500 test images per emotion. "default" measures all methods at
# 64 px in under ten minutes on two CPU cores. Most of that is ERE (faces x 441 codes), so it edits
# one face per batch: few faces, each with a target of its own. "full" is for the numbers that
# decide: 64 targets of ERE from 1,024 faces, four of each batch edited; 20 to 30 minutes of
# one core a method.
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "default",
            n_test=700,
            n_fid=200,
            n_accuracy=140,
            n_smooth=24,
            n_ere=128,
            ere_edited=1,
            chart_faces=12,
        ),
        Protocol(
            "quick",
            n_test=140,
            n_fid=32,
            n_accuracy=14,
            n_smooth=3,
            n_ere=48,
            ere_edited=1,
            replicates=400,
            budget=49,
            chart_faces=2,
            chart_side=11,
        ),
        Protocol(
            "full",
            n_test=2048,
            n_fid=2000,
            n_accuracy=700,
            n_smooth=128,
            n_ere=1024,
            ere_edited=4,
            chart_faces=24,
        ),
        Protocol(
            "paper",
            n_test=3500,
            n_fid=3500,
            n_accuracy=3500,
            n_smooth=3500,
            n_ere=3488,
            chart_faces=64,
            chart_side=41,
        ),
    )
}


def get_protocol(name: str, seed: int = 0) -> Protocol:
    """The protocol of this name with a seed; raises UnknownNameError for an unknown name."""
    if name not in PROTOCOLS:
        hint = did_you_mean(name, PROTOCOLS)
        raise UnknownNameError(
            f"unknown protocol {quote(name)}{hint} There are: {', '.join(PROTOCOLS)}"
        )
    return replace(PROTOCOLS[name], seed=seed)
