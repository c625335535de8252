"""Code spaces: the codes that a method accepts, as metrics and the demo use them.

Codes are float tensors `[..., dim]`. Laws, tested for every space: `of(e, 0) == of("neutral",
anything)`, in whose second value `of` is continuous; `clamp` is idempotent; `path` includes both
ends; samples are valid.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.emotions import UNITS, emotion_index


@dataclass(frozen=True)
class Chart:
    """A 2-D grid: codes, side x side x dim (row 0 is the top, y = +1); valid, side x side bool."""

    codes: Tensor
    valid: Tensor


class CodeSpace(ABC):
    """The set of codes of one method; `emotions` comes from the data, neutral first.

    Raises ValueError for fewer than two emotions.
    """

    dim: int
    # The controls that the page shows: "labels", "gamut", "units", "styles" or "expression".
    kind: str
    has_units = False  # whether `units` and `units_of` are there

    def __init__(self, emotions: tuple[str, ...]):
        if len(emotions) < 2:
            raise ValueError(f"a code space needs neutral and at least one emotion, got {emotions}")
        self.emotions = tuple(emotions)

    @abstractmethod
    def of(self, emotion: str, intensity: float = 1.0) -> Tensor:
        """The code `[dim]` of a named emotion at an intensity 0..1; intensity 0 is neutral. Raises
        ValueError for an unknown emotion and an intensity outside 0..1."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator, histogram: Tensor | None = None) -> Tensor:
        """`[n, dim]` codes from the evaluation prior of the method, under which FED is measured.

        histogram: `[emotions]` counts or shares of the test labels, which the emotions of labels,
        styles and modes follow as in the papers; without it all emotions are equally frequent.
        Spaces whose prior names no emotion ignore it.
        """

    @abstractmethod
    def grid(self, budget: int | None = None) -> Tensor:
        """`[m, dim]` codes searched for ERE: the grid of the paper, or at most `budget` codes."""

    @abstractmethod
    def clamp(self, code: Tensor) -> Tensor:
        """The nearest valid code; raises ValueError on NaN, infinity or a wrong last dimension."""

    def path(self, a: Tensor, b: Tensor, steps: int) -> Tensor:
        """`[steps, dim]` codes from a to b, both included; a straight line unless the method has
        its own interpolation. Raises ValueError for fewer than two steps."""
        if steps < 2:
            raise ValueError(f"a path needs at least 2 steps, got {steps}")
        t = torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device)[:, None]
        return (1 - t) * a + t * b

    def mix(self, shares: Mapping[str, float]) -> Tensor:
        """The code `[dim]` of emotions mixed by shares 0..1, at most 1 together; neutral is what
        they leave. One emotion alone is `of`."""
        code = (1 - sum(shares.values())) * self.of(self.emotions[0])
        for emotion, share in shares.items():
            code = code + share * self.of(emotion)
        return self.clamp(code)

    def sample_emotion(self, emotion: str, n: int, generator: torch.Generator) -> Tensor:
        """`[n, dim]` codes of a named emotion at full intensity; random parts of a code (style
        noise) are sampled for each row."""
        return self.of(emotion).repeat(n, 1)

    def chart(self, side: int) -> Chart | None:
        """The 2-D grid that the gamut pad and the gamut map draw, side x side x dim; None where the
        space is not two-dimensional."""
        return None

    def state(self) -> dict[str, Tensor]:
        """The learned tensors of the space, which a weight file must hold; empty without any."""
        return {}

    def units(self, values: Mapping[int, float], others: Sequence[float] | None = None) -> Tensor:
        """The code `[dim]` that differs from the code `others` (neutral by default) in the named
        action units alone: {FACS number: 0..1}. Raises ValueError for a number that is not among
        UNITS, for a value outside 0..1, and where the space has no units."""
        raise ValueError(f"codes of {self.kind} are not controlled by action units")

    def units_of(self, code: Tensor) -> Tensor:
        """The seventeen action units in 0..1 (order of UNITS) of a code `[dim]`; raises ValueError
        where the space has none."""
        raise ValueError(f"codes of {self.kind} are not controlled by action units")

    def _draw_emotions(
        self, n: int, generator: torch.Generator, histogram: Tensor | None
    ) -> Tensor:
        """`[n]` indices of emotions, distributed as the histogram, or evenly without one."""
        kinds = len(self.emotions)
        shares = torch.ones(kinds) if histogram is None else histogram.double()
        if shares.shape != (kinds,):
            raise ValueError(f"{kinds} emotions need {kinds} shares, got {tuple(shares.shape)}")
        return torch.multinomial(shares, n, replacement=True, generator=generator)

    def _intensity(self, emotion: str, intensity: float) -> tuple[int, float]:
        value = float(intensity)
        if not math.isfinite(value) or not 0 <= value <= 1:
            raise ValueError(f"intensity must be between 0 and 1, got {intensity}")
        return emotion_index(emotion, self.emotions), value

    def _validate(self, code: Tensor) -> Tensor:
        if code.shape[-1] != self.dim:
            raise ValueError(f"this code space has {self.dim} values, got {code.shape[-1]}")
        if not torch.isfinite(code).all():
            raise ValueError("a code holds NaN or infinity; give finite numbers")
        return code


class LabelSpace(CodeSpace):
    """Labels of a conditional generator (StarGAN, SMIT, GANimation with categories): the simplex
    over the emotions.

    Intensity mixes with neutral, (1-t) e_0 + t e_c, which is the path the GANmut paper measures
    StarGAN on (section 5.2).
    """

    kind = "labels"

    def __init__(self, emotions: tuple[str, ...]):
        super().__init__(emotions)
        self.dim = len(self.emotions)

    def of(self, emotion: str, intensity: float = 1.0) -> Tensor:
        which, value = self._intensity(emotion, intensity)
        code = torch.zeros(self.dim)
        # Added, not assigned: for neutral both shares go to the same entry.
        code[0] += 1 - value
        code[which] += value
        return code

    def sample(self, n: int, generator: torch.Generator, histogram: Tensor | None = None) -> Tensor:
        return torch.eye(self.dim)[self._draw_emotions(n, generator, histogram)]

    def grid(self, budget: int | None = None) -> Tensor:
        """The one-hot labels (7 in the paper); with a budget also soft labels, all pairs of labels
        mixed in equal steps."""
        if budget is None:
            return torch.eye(self.dim)
        eye, pairs = torch.eye(self.dim), self.dim * (self.dim - 1) // 2
        # What the budget leaves after the labels is spread evenly over all pairs.
        steps = max((budget - self.dim) // pairs, 0)
        codes = [eye]
        for t in torch.linspace(0, 1, steps + 2)[1:-1]:
            a, b = torch.triu_indices(self.dim, self.dim, 1)
            codes.append((1 - t) * eye[a] + t * eye[b])
        return torch.cat(codes)[:budget]

    def clamp(self, code: Tensor) -> Tensor:
        """Euclidean projection on the simplex (Duchi et al. 2008, figure 1)."""
        away = self._validate(code) - code.amax(-1, keepdim=True)  # large sums would lose the 1
        ordered = away.sort(dim=-1, descending=True).values
        ranks = torch.arange(1, self.dim + 1, dtype=code.dtype, device=code.device)
        shift = (ordered.cumsum(-1) - 1) / ranks
        last = ((ordered - shift) > 0).sum(-1, keepdim=True) - 1
        projected = (away - shift.gather(-1, last)).clamp(min=0)
        valid = ((code >= 0).all(-1) & ((code.sum(-1) - 1).abs() < 1e-5))[..., None]
        return torch.where(valid, code, projected)  # valid codes are returned bit for bit


class DiscSpace(CodeSpace):
    """GANmut's polar gamut: the unit disc with neutral at the origin and one learned unit direction
    for each other emotion.

    `directions`: (emotions - 1) x 2, any length; stored normalised. Code = radius * (cos angle, sin
    angle), radius = intensity (GANmut, section 3.1).
    """

    kind = "gamut"
    dim = 2

    def __init__(self, emotions: tuple[str, ...], directions: Tensor):
        super().__init__(emotions)
        if directions.shape != (len(emotions) - 1, 2):
            raise ValueError(
                f"{len(emotions)} emotions need {len(emotions) - 1} x 2 directions, "
                f"got {tuple(directions.shape)}"
            )
        self.directions = F.normalize(directions.detach().float().cpu(), dim=1)

    def of(self, emotion: str, intensity: float = 1.0) -> Tensor:
        which, value = self._intensity(emotion, intensity)
        return torch.zeros(2) if which == 0 else value * self.directions[which - 1]

    def sample(self, n: int, generator: torch.Generator, histogram: Tensor | None = None) -> Tensor:
        # Uniform in angle and in radius, not in area: the authors' evaluation mode "random".
        angle = torch.rand(n, generator=generator) * 2 * math.pi
        radius = torch.rand(n, generator=generator)
        return radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)

    def grid(self, budget: int | None = None) -> Tensor:
        """Radii 0..1 times angles, equally many of each: 21 x 21 in the paper (section 5.3)."""
        side = 21 if budget is None else max(math.isqrt(budget), 1)
        radius = torch.linspace(0, 1, side)[:, None]
        angle = torch.arange(side)[None] * (2 * math.pi / side)
        return torch.stack([radius * angle.cos(), radius * angle.sin()], -1).reshape(-1, 2)

    def clamp(self, code: Tensor) -> Tensor:
        code = self._validate(code)
        # Codes of `of` have length 1 up to rounding; the margin makes `clamp` idempotent.
        outside = code.norm(dim=-1, keepdim=True) > 1 + 1e-6
        inside = code / code.abs().amax(-1, keepdim=True).clamp(min=1)  # 1e30 squared is infinite
        return torch.where(outside, F.normalize(inside, dim=-1), code)

    def chart(self, side: int) -> Chart:
        codes = _square_grid(side)
        return Chart(codes, codes.norm(dim=-1) <= 1 + 1e-6)

    def state(self) -> dict[str, Tensor]:
        return {"directions": self.directions}


class PlaneSpace(CodeSpace):
    """GGANmut's square [-1, 1]^2 with one Gaussian per emotion, neutral included (GANmut, section
    3.2).

    `modes`: emotions x 2 inside the square; `covariances`: emotions x 2 x 2, positive definite.
    """

    kind = "gamut"
    dim = 2
    noise = 0.05  # the paper adds "some noise" to the modes for FED and does not publish its size

    def __init__(self, emotions: tuple[str, ...], modes: Tensor, covariances: Tensor):
        super().__init__(emotions)
        if modes.shape != (len(emotions), 2) or covariances.shape != (len(emotions), 2, 2):
            raise ValueError(
                f"{len(emotions)} emotions need modes {len(emotions)} x 2 and covariances "
                f"{len(emotions)} x 2 x 2, "
                f"got {tuple(modes.shape)} and {tuple(covariances.shape)}"
            )
        self.modes = modes.detach().float().cpu().clamp(-1, 1)
        self.covariances = covariances.detach().float().cpu()

    def of(self, emotion: str, intensity: float = 1.0) -> Tensor:
        which, value = self._intensity(emotion, intensity)
        return (1 - value) * self.modes[0] + value * self.modes[which]

    def density(self, code: Tensor) -> Tensor:
        """p_z, `[..., emotions]`: softmax(-d^2) of the Mahalanobis distances; no 1/2 and no
        log-determinant (eq. 12)."""
        offset = code[..., None, :] - self.modes
        precision = torch.linalg.inv(self.covariances)
        return torch.softmax(-torch.einsum("...ci,cij,...cj->...c", offset, precision, offset), -1)

    def sample(self, n: int, generator: torch.Generator, histogram: Tensor | None = None) -> Tensor:
        which = self._draw_emotions(n, generator, histogram)
        noise = self.noise * torch.randn(n, 2, generator=generator)
        return (self.modes[which] + noise).clamp(-1, 1)

    def grid(self, budget: int | None = None) -> Tensor:
        """An even square grid: 21 x 21 in the paper (steps of .1)."""
        return _square_grid(21 if budget is None else max(math.isqrt(budget), 1)).reshape(-1, 2)

    def clamp(self, code: Tensor) -> Tensor:
        return self._validate(code).clamp(-1, 1)

    def chart(self, side: int) -> Chart:
        return Chart(_square_grid(side), torch.ones(side, side, dtype=torch.bool))

    def state(self) -> dict[str, Tensor]:
        return {"modes": self.modes, "covariances": self.covariances}


class ActionUnitSpace(CodeSpace):
    """Seventeen action units in 0..1, order of ganmut.emotions.UNITS (GANimation, DefGAN, EF-GAN).

    `prototypes`: emotions x 17, the units of each emotion, neutral first; `bank`: m x 17, units of
    real training faces, the source of the evaluation prior and of the grid for ERE.
    """

    kind = "units"
    dim = len(UNITS)
    has_units = True

    def __init__(self, emotions: tuple[str, ...], prototypes: Tensor, bank: Tensor):
        super().__init__(emotions)
        if prototypes.shape != (len(emotions), self.dim) or bank.shape[1:] != (self.dim,):
            raise ValueError(
                f"{len(emotions)} emotions need prototypes {len(emotions)} x {self.dim} and a bank "
                f"m x {self.dim}, got {tuple(prototypes.shape)} and {tuple(bank.shape)}"
            )
        self.prototypes = prototypes.detach().float().cpu().clamp(0, 1)
        self.bank = bank.detach().float().cpu().clamp(0, 1)

    def of(self, emotion: str, intensity: float = 1.0) -> Tensor:
        which, value = self._intensity(emotion, intensity)
        return (1 - value) * self.prototypes[0] + value * self.prototypes[which]

    def sample(self, n: int, generator: torch.Generator, histogram: Tensor | None = None) -> Tensor:
        return self.bank[torch.randint(len(self.bank), (n,), generator=generator)]

    def grid(self, budget: int | None = None) -> Tensor:
        """The first `budget` rows of the bank, 441 by default, as many codes as GANmut searches."""
        return self.bank[: 441 if budget is None else budget]

    def clamp(self, code: Tensor) -> Tensor:
        return self._validate(code).clamp(0, 1)

    def units(self, values: Mapping[int, float], others: Sequence[float] | None = None) -> Tensor:
        code = self.prototypes[0].clone() if others is None else self.clamp(torch.tensor(others))
        for place, value in unit_values(values):
            code[place] = value
        return code

    def units_of(self, code: Tensor) -> Tensor:
        return self.clamp(code)


class StyleSpace(CodeSpace):
    """Style codes, computed from an emotion and a random latent (SMIT, StarGAN v2).

    `style(which, latent)`: int64 n and n x latent -> `[n, dim]`. The code of a named emotion is its
    row of `centres` (emotions x dim), by default the style of the zero latent. `sample_emotion` and
    `sample` draw latents from N(0, 1).
    """

    kind = "styles"

    def __init__(
        self,
        emotions: tuple[str, ...],
        latent: int,
        style: Callable[[Tensor, Tensor], Tensor],
        centres: Tensor | None = None,
    ):
        super().__init__(emotions)
        self.latent, self._style = latent, style
        if centres is None:
            centres = self._styles(torch.arange(len(emotions)), torch.zeros(len(emotions), latent))
        self.centres, self.dim = centres.detach().float().cpu(), centres.shape[1]

    def _styles(self, which: Tensor, latent: Tensor) -> Tensor:
        with torch.no_grad():
            return self._style(which, latent).float().cpu()

    def of(self, emotion: str, intensity: float = 1.0) -> Tensor:
        which, value = self._intensity(emotion, intensity)
        return (1 - value) * self.centres[0] + value * self.centres[which]

    def sample_emotion(self, emotion: str, n: int, generator: torch.Generator) -> Tensor:
        which = torch.full((n,), emotion_index(emotion, self.emotions))
        return self._styles(which, torch.randn(n, self.latent, generator=generator))

    def sample(self, n: int, generator: torch.Generator, histogram: Tensor | None = None) -> Tensor:
        which = self._draw_emotions(n, generator, histogram)
        return self._styles(which, torch.randn(n, self.latent, generator=generator))

    def grid(self, budget: int | None = None) -> Tensor:
        """Every emotion with the same number of fixed latents: 7 x 63 codes in the paper."""
        kinds = len(self.emotions)
        each = max((441 if budget is None else budget) // kinds, 1)
        # Fixed latents: ERE of two runs is searched over the same codes.
        latent = torch.randn(each, self.latent, generator=torch.Generator().manual_seed(0))
        return self._styles(torch.arange(kinds).repeat_interleave(each), latent.repeat(kinds, 1))

    def clamp(self, code: Tensor) -> Tensor:
        return self._validate(code)  # every style is valid


def unit_values(values: Mapping[int, float]) -> list[tuple[int, float]]:
    """(place in UNITS, value) of {FACS number: 0..1}; raises ValueError for a number that is not
    among UNITS and a value outside 0..1."""
    for number, value in values.items():
        if number not in UNITS:
            known = ", ".join(map(str, UNITS))
            raise ValueError(f"there is no action unit {number} here; there are {known}")
        if not 0 <= value <= 1:  # NaN is not either
            raise ValueError(f"action unit {number} must be between 0 and 1, got {value}")
    return [(UNITS.index(number), float(value)) for number, value in values.items()]


def _square_grid(side: int) -> Tensor:
    """side x side x 2 points of [-1, 1]^2; x grows to the right, y upwards, row 0 is the top."""
    axis = torch.linspace(-1, 1, side) if side > 1 else torch.zeros(1)
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    return torch.stack([x, y], -1)
