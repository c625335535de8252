"""Random views of aligned photographs for the training of the landmark network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.expression.point_set import SIZE


class Augment:
    """Random views of aligned photographs, as faces come in practice: turned, shifted, scaled,
    mirrored, lit, blurred, covered. Landmarks and pose follow.

    pairs: int64 P, the landmark that each becomes in a mirrored face (geometry.mirror_pairs).
    """

    def __init__(self, pairs: Tensor, generator: torch.Generator):
        self.pairs, self.generator = pairs, generator

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=self.generator)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def __call__(
        self, images: Tensor, points: Tensor, pose: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """images uint8 N x 128 x 128 -> float N x 1 x 128 x 128 in 0..1, points N x P x 2 and
        pose N x 3 of the views."""
        n = len(images)
        flip = self.uniform(0, 1, n) < 0.5
        mirrored = points * points.new_tensor([-1, 1]) + points.new_tensor([SIZE, 0])
        # A mirrored left corner of the mouth is a right one: landmarks change their numbers too.
        points = torch.where(flip[:, None, None], mirrored[:, self.pairs], points)
        # A mirror turns yaw and roll round and leaves the pitch.
        pose = torch.where(flip[:, None], pose * pose.new_tensor([-1, 1, -1]), pose)
        angle = (self.normal(n) * 0.14).clamp(-0.5, 0.5)
        scale = torch.exp((self.normal(n) * 0.08).clamp(-0.25, 0.25))
        shift = (self.normal(n, 2) * 3.5).clamp(-12, 12)
        a, b = scale * angle.cos(), scale * angle.sin()
        turn = torch.stack([torch.stack([a, -b], 1), torch.stack([b, a], 1)], 1)
        centre = SIZE / 2  # crops span 0..128: the centre of pixel i lies at i + .5
        points = (points - centre) @ turn.transpose(1, 2) + centre + shift[:, None]
        pose = pose - torch.stack(
            [0 * angle, 0 * angle, angle], 1
        )  # MediaPipe's roll is anticlockwise
        # grid_sample asks where an output pixel comes from: the inverse map.
        inverse = torch.linalg.inv(turn)
        mirror = torch.where(flip, -1.0, 1.0)
        # The flip came first, so in the inverse it comes last: it negates the source's x.
        inverse = torch.stack([inverse[:, 0] * mirror[:, None], inverse[:, 1]], 1)
        offset = -(inverse @ shift[..., None]) * (2 / SIZE)
        grid = F.affine_grid(
            torch.cat([inverse, offset], 2), [n, 1, SIZE, SIZE], align_corners=False
        )
        views = F.grid_sample(
            images[:, None].float() / 255, grid, padding_mode=self._border(), align_corners=False
        )
        return self._cover(self._light(self._soften(views))), points, pose

    def _border(self) -> str:
        return "border" if float(self.uniform(0, 1, 1)) < 0.7 else "zeros"

    def _light(self, views: Tensor) -> Tensor:
        """Gamma, contrast, brightness, a lamp from one side, grain."""
        n = len(views)
        # Factors are log-normal: half and double are equally likely.
        views = views.clamp(1e-3, 1) ** torch.exp(self.normal(n, 1, 1, 1) * 0.25)
        gain = torch.exp(self.normal(n, 1, 1, 1) * 0.2)
        views = views * gain + self.normal(n, 1, 1, 1) * 0.06
        ramp = torch.linspace(-1, 1, SIZE)
        lamp = self.normal(n, 1, 1, 1) * ramp + self.normal(n, 1, 1, 1) * ramp[:, None]
        views = views * torch.exp(0.15 * lamp)
        grain = self.uniform(0, 0.05, n, 1, 1, 1) * self.normal(*views.shape)
        return (views + grain).clamp(0, 1)

    def _soften(self, views: Tensor) -> Tensor:
        """Some views at a lower resolution, as small faces are."""
        side = int(self.uniform(24, 129, 1)) if float(self.uniform(0, 1, 1)) < 0.35 else SIZE
        if side == SIZE:
            return views
        # Half of the batch, so that one resolution serves all of them: areas are averaged in one
        # call.
        few = torch.randperm(len(views), generator=self.generator)[: max(len(views) // 2, 1)]
        small = F.interpolate(views[few], size=side, mode="area")
        views[few] = F.interpolate(small, size=SIZE, mode="bilinear", align_corners=False)
        return views

    def _cover(self, views: Tensor) -> Tensor:
        """Half the views get a block of one grey or of another view, as hands and hair do."""
        n = len(views)
        donors = torch.randperm(n, generator=self.generator).tolist()
        for i in range(n):
            if float(self.uniform(0, 1, 1)) < 0.6:
                continue
            w, h = (int(v) for v in self.uniform(8, 52, 2))
            x, y = (int(v) for v in self.uniform(-10, SIZE - 6, 2))
            block = (i, 0, slice(max(y, 0), y + h), slice(max(x, 0), x + w))
            if float(self.uniform(0, 1, 1)) < 0.5:
                views[block] = float(self.uniform(0, 1, 1))
            else:
                views[block] = views[(donors[i], *block[1:])].clone()
        return views
