"""Training items as vectors, with the eigenvectors of their inner products: what the regressions are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sciops.data.domains.domain import Grid
from sciops.data.domains.interpolation import resample
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.data.functions.sampling import epoch_order
from sciops.errors import InputError

MAX_ITEMS = 2000
MAX_POINTS = 4096
MAX_BYTES = 1 << 29
_BLOCK = 64


@dataclass(frozen=True)
class Snapshots:
    r"""Training items as centred feature vectors, with the eigenvectors of their inner products.

    Features are the input channels, each over its deviation and the root of its number of nodes, and the scalar
    parameters, each over its deviation. With Z the centred features, :math:`Z Z^T = U \,\mathrm{diag}(s^2)\, U^T`.

    Parameters
    ----------
    dataset
        The training set; it is read for its channels only.
    grid
        The grid that inputs are brought to.
    mean, scale
        (feature,): removed from, and divided by.
    features
        (item, feature), centred.
    outputs, output_mean
        (item, output) centred, and their (output,) mean.
    squares, vectors
        (rank,) and (item, rank): s² and U, largest first.
    """

    dataset: FunctionDataset
    grid: Grid
    mean: Tensor
    scale: Tensor
    features: Tensor
    outputs: Tensor
    output_mean: Tensor
    squares: Tensor
    vectors: Tensor

    @classmethod
    def of(cls, dataset: FunctionDataset, *, max_items: int = MAX_ITEMS, seed: int = 0) -> Snapshots:
        """Reads at most `max_items` items, evenly at random.

        Memory is bounded: inputs with more than 4096 nodes are resampled to a coarser grid, and fewer items are taken
        when their outputs would need more than 512 MiB.

        Parameters
        ----------
        dataset
            The training set.
        max_items
            Items used by the regressions.
        seed
            Seed of their choice.

        Raises
        ------
        InputError
            Fewer than 2 items.
        """
        if len(dataset) < 2 or max_items < 2:
            raise InputError(f"a regression needs at least 2 training items, got {min(len(dataset), max_items)}")
        exact = dataset.astype(torch.float64)
        grid = _coarse(dataset.grid)
        size = 8 * (math.prod(dataset.grid.shape) * dataset.out_channels + math.prod(grid.shape) * dataset.in_channels)
        count = min(len(dataset), max_items, max(2, MAX_BYTES // size))
        chosen = epoch_order(len(dataset), seed, 0)[:count].sort().values
        features, outputs = [], []
        for start in range(0, count, _BLOCK):
            block = exact.batch(chosen[start : start + _BLOCK])
            features.append(_flat(block["x"], block.get("parameters"), dataset.grid, grid))
            outputs.append(block["y"].flatten(1))
        z, y = torch.cat(features), torch.cat(outputs)
        mean, scale = z.mean(dim=0), _scale(z, dataset.in_channels, math.prod(grid.shape))
        z = (z - mean) / scale
        output_mean = y.mean(dim=0)
        y -= output_mean
        squares, vectors = principal(z)
        return cls(dataset, grid, mean, scale, z, y, output_mean, squares, vectors)

    def inner(self, x: Tensor, parameters: Tensor | None) -> Tensor:
        """Inner products of new inputs with the training items: (batch, item)."""
        features = _flat(x.double(), None if parameters is None else parameters.double(), self.dataset.grid, self.grid)
        return ((features - self.mean) / self.scale) @ self.features.T

    def shaped(self, outputs: Tensor, like: Tensor) -> Tensor:
        """Output vectors (batch, output), mean added, as fields."""
        fields = (outputs + self.output_mean).to(like.dtype)
        return fields.reshape(len(fields), self.dataset.out_channels, *self.dataset.grid.shape)


def principal(z: Float[Tensor, "item feature"]) -> tuple[Float[Tensor, " rank"], Float[Tensor, "item rank"]]:
    r"""The :math:`s^2` and U of the singular value decomposition :math:`Z = U S V^T`, largest first.

    Directions with less than 1e-12 of the largest square are left out. The eigenproblem solved is that of the smaller
    side of Z.

    Examples
    --------
    >>> squares, vectors = principal(torch.tensor([[3.0, 0.0], [0.0, 0.0], [0.0, 0.0]], dtype=torch.float64))
    >>> squares.tolist(), vectors.abs().tolist()
    ([9.0], [[1.0], [0.0], [0.0]])
    """
    tall = z.shape[0] > z.shape[1]
    squares, vectors = torch.linalg.eigh(z.T @ z if tall else z @ z.T)
    kept = squares > squares[-1].clamp(min=1e-300) * 1e-12
    squares, vectors = squares[kept].flip(0), vectors[:, kept].flip(1)
    return squares, (z @ vectors) / squares.sqrt() if tall else vectors


def _coarse(grid: Grid) -> Grid:
    """The grid with at most `MAX_POINTS` nodes, all axes coarsened by the same factor."""
    factor = (math.prod(grid.shape) / MAX_POINTS) ** (1 / grid.ndim)
    return grid if factor <= 1 else grid.resized(*(max(2, int(size / factor)) for size in grid.shape))


def _flat(
    x: Float[Tensor, "batch channel *space"], parameters: Tensor | None, source: Grid, target: Grid
) -> Float[Tensor, "batch feature"]:
    fields = (x if source == target else resample(x, source, target)).flatten(1)
    return fields if parameters is None else torch.cat([fields, parameters], dim=1)


def _scale(features: Tensor, channels: int, points: int) -> Tensor:
    """The deviation of each channel times the root of its nodes, and of each parameter; 1 for constants."""
    fields = features[:, : channels * points].reshape(-1, channels, points)
    deviation = (fields - fields.mean(dim=0)).square().mean(dim=(0, 2)).sqrt() * math.sqrt(points)
    numbers = features[:, channels * points :]
    others = (numbers - numbers.mean(dim=0)).square().mean(dim=0).sqrt()
    scale = torch.cat([deviation.repeat_interleave(points), others])
    return torch.where(scale > 0, scale, 1.0)
