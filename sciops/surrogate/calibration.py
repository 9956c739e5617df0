"""A band around predictions that holds whole fields with a stated probability: split conformal prediction."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from sciops.data.domains.domain import Grid
from sciops.data.domains.interpolation import resample
from sciops.errors import InputError


@dataclass(frozen=True)
class ConformalBand:
    r"""Bands :math:`p(x) \pm q\,s(x)` that hold the whole field with probability at least `coverage`.

    s is the root mean square of the residual at each node over the validation fields, and the score of a calibration
    field is :math:`r = \max_x |u(x) - p(x)| / s(x)` over all nodes, channels and frames. q is the
    :math:`\lceil (n+1)\,\mathrm{coverage} \rceil`-th smallest of the n scores. For a new field drawn like the
    calibration fields, ``P(u inside the band everywhere) >= coverage``, whatever the model.

    Parameters
    ----------
    scale
        s, (frame, channel, *space) on the training grid, positive; one frame for a map.
    scores
        (frame, n) score of each calibration field over the frames up to this one.

    References
    ----------
    Lei, G'Sell, Rinaldo, Tibshirani, Wasserman, Distribution-free predictive inference for regression, 2018.
    Diquigiovanni, Fontana, Vantini, Conformal prediction bands for multivariate functional data, 2022.

    Examples
    --------
    >>> band = ConformalBand.fit(torch.ones(9, 1, 1, 4), torch.arange(1.0, 10.0).reshape(9, 1, 1, 1).expand(9, 1, 1, 4))
    >>> band.factor(0.5)
    5.0
    """

    scale: Float[Tensor, "frame channel *space"]
    scores: Float[Tensor, "frame n"]

    @classmethod
    def fit(
        cls,
        validation: Float[Tensor, "n frame channel *space"],
        calibration: Float[Tensor, "m frame channel *space"],
    ) -> ConformalBand:
        """The band of the residuals on the validation fields (for s) and on the calibration fields (for q)."""
        return cls.from_scale(validation.double().square().mean(dim=0).sqrt(), [calibration])

    @classmethod
    def from_scale(cls, rms: Float[Tensor, "frame channel *space"], calibration: Iterable[Tensor]) -> ConformalBand:
        """The band for a measured root mean square of the residual, and the calibration residuals by batch."""
        rms = rms.nan_to_num(nan=math.inf)
        typical = rms.square().mean(dim=tuple(range(2, rms.ndim)), keepdim=True).sqrt()
        smallest = torch.finfo(torch.float64).tiny
        scale = torch.maximum(rms.double(), 0.05 * typical.double()).clamp(min=smallest)
        scores = torch.cat([cls.score(scale, residual) for residual in calibration], dim=1)
        return cls(scale, scores.sort(dim=1).values)

    @staticmethod
    def score(scale: Tensor, residual: Float[Tensor, "n frame channel *space"]) -> Float[Tensor, "frame n"]:
        """The score of each field over the frames up to each one."""
        relative = (residual.double().abs() / scale[: residual.shape[1]]).nan_to_num(nan=math.inf, posinf=math.inf)
        per_frame = relative.flatten(2).amax(dim=2)
        return per_frame.cummax(dim=1).values.T

    @property
    def fields(self) -> int:
        """Number of calibration fields."""
        return int(self.scores.shape[1])

    @property
    def frames(self) -> int:
        """Number of frames that are calibrated; 1 for a map."""
        return int(self.scores.shape[0])

    def factor(self, coverage: float, *, frames: int = 1) -> float:
        """q for a band that holds fields over the first `frames` frames with probability `coverage`.

        Raises
        ------
        InputError
            If there are too few calibration fields for this coverage, or `frames` is beyond what was calibrated.
        """
        if not 0 < coverage < 1:
            raise InputError(f"coverage is a probability between 0 and 1, got {coverage}")
        if frames > self.frames:
            raise InputError(
                f"the error band is calibrated for {self.frames} steps, and {frames} were asked for; "
                f"ask for at most {self.frames}, or leave coverage out"
            )
        rank = math.ceil((self.fields + 1) * coverage - 1e-9)
        if rank > self.fields:
            needed = math.ceil(coverage / (1 - coverage) - 1e-9)
            most = math.floor(1000 * self.fields / (self.fields + 1)) / 1000
            raise InputError(
                f"coverage {coverage} needs at least {needed} calibration fields and this surrogate has "
                f"{self.fields}; ask for at most {most:.3f}, or fit with more calibration data"
            )
        return float(self.scores[frames - 1, rank - 1])

    def half_width(self, coverage: float, *, frames: int, training: Grid, grid: Grid) -> NDArray[np.float64]:
        """``q s`` of the first `frames` frames, (frames * channel, *space), brought from the training grid to `grid`.

        Raises
        ------
        InputError
            As for `factor`.
        """
        factor = self.factor(coverage, frames=frames)
        scale = self.scale[:frames].flatten(0, 1)
        if grid.shape != training.shape:
            lowest = scale.flatten(1).amin(dim=1).view(-1, *(1,) * grid.ndim)
            scale = torch.maximum(resample(scale, training, grid), lowest)
        width: NDArray[np.float64] = (factor * scale).numpy()
        return width
