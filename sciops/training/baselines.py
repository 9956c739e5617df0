"""What a trained operator must beat: the mean, persistence, linear regression, and POD with ridge regression.

A learned model is worth its training only where it beats these; `skill_table` says so in one place.

References
----------
McGreivy and Hakim, Weak baselines and reporting biases lead to overoptimism in machine learning for fluid-related
partial differential equations, Nature Machine Intelligence 6, 2024.
"""

from __future__ import annotations

import abc
import math

import torch
from torch import Tensor

from sciops.data.functions.function_dataset import FunctionDataset
from sciops.errors import InputError
from sciops.registry import Registry
from sciops.training.losses import RelativeL2
from sciops.training.snapshots import MAX_ITEMS, Snapshots, principal

baselines: Registry[type[Baseline]] = Registry("baseline")

_BLOCK = 256


class Baseline(abc.ABC):
    """A predictor that needs no training loop: fitted on the training set, applied to inputs in their own units."""

    @abc.abstractmethod
    def fit(self, data: Snapshots) -> Baseline:
        """Learns from the training data and returns itself."""

    @abc.abstractmethod
    def predict(self, x: Tensor, parameters: Tensor | None = None) -> Tensor:
        """Outputs ``(batch, out_channel, *space)`` for inputs ``(batch, in_channel, *space)``."""


@baselines.register("mean")
class Mean(Baseline):
    """The mean output of the training set, whatever the input.

    Examples
    --------
    >>> "mean" in baselines
    True
    """

    def fit(self, data: Snapshots) -> Mean:
        self._data = data
        return self

    def predict(self, x: Tensor, parameters: Tensor | None = None) -> Tensor:
        return self._data.shaped(torch.zeros(len(x), len(self._data.output_mean), dtype=torch.float64), x)


@baselines.register("persistence")
class Persistence(Baseline):
    """Nothing changes: each output channel is the latest input channel of the same variable.

    Raises
    ------
    InputError
        From `fit`, if an output variable is not among the inputs; `Persistence.applies` says so before.
    """

    @staticmethod
    def applies(dataset: FunctionDataset) -> bool:
        """Whether every output variable is an input too."""
        return all(_latest(dataset, channel) is not None for channel in range(dataset.out_channels))

    def fit(self, data: Snapshots) -> Persistence:
        sources = [_latest(data.dataset, channel) for channel in range(data.dataset.out_channels)]
        self._sources = [source for source in sources if source is not None]
        if len(self._sources) < len(sources):
            name = data.dataset.output_names[sources.index(None)]
            raise InputError(f"persistence needs the output {name!r} among the inputs {data.dataset.input_names}")
        return self

    def predict(self, x: Tensor, parameters: Tensor | None = None) -> Tensor:
        return x[:, self._sources]


@baselines.register("linear")
class Linear(Baseline):
    r"""Ridge least squares from all input values to all output values.

    In dual form, :math:`y(x) = k(x)^T (ZZ^T + \lambda I)^{-1} Y` with :math:`k(x) = Z x`, so the cost is that of the
    number of items and not of the features. The ridge :math:`\lambda` minimises the generalised cross-validation error
    of the training items.

    References
    ----------
    Golub, Heath and Wahba, Generalized cross-validation as a method for choosing a good ridge parameter, 1979.
    """

    ridges: tuple[float, ...] = tuple(10.0**k for k in range(-10, 1))

    def fit(self, data: Snapshots) -> Linear:
        self._data = data
        n = len(data.features)
        projected = data.vectors.T @ data.outputs
        energy = projected.square().sum(dim=1)
        missed = data.outputs.square().sum() - energy.sum()
        largest = data.squares.max() if len(data.squares) else data.squares.sum()  # no direction: constant inputs
        best = math.inf
        for part in self.ridges:
            ridge = part * largest
            shrunk = ridge / (data.squares + ridge)
            freedom = n - 1 - (1 - shrunk).sum()
            error = float((shrunk.square() * energy).sum() + missed) / max(float(freedom), 1e-3) ** 2
            if error < best:
                best, self.ridge = error, float(ridge)
        self._weights = data.vectors @ (projected / (data.squares + self.ridge)[:, None])
        return self

    def predict(self, x: Tensor, parameters: Tensor | None = None) -> Tensor:
        return self._data.shaped(self._data.inner(x, parameters) @ self._weights, x)


@baselines.register("pod-ridge")
class PODRidge(Baseline):
    r"""Ridge regression between the POD coefficients of inputs and outputs, tuned for each output mode.

    Inputs are written in the r leading POD modes of the training inputs, with coefficients of equal size; each
    coefficient of the outputs' POD is a linear function of them. For each output mode the number r and the ridge
    minimise the generalised cross-validation error of the training items; bases come from the training set only.

    References
    ----------
    Golub, Heath and Wahba, Generalized cross-validation as a method for choosing a good ridge parameter, 1979.
    """

    ridges: tuple[float, ...] = (0.0, 0.01, 0.1, 0.3, 1.0, 3.0)

    def fit(self, data: Snapshots) -> PODRidge:
        self._data = data
        n, rank = data.vectors.shape
        _, left = principal(data.outputs)  # (item, mode): the outputs' POD coefficients, up to the size of each mode
        projected = data.vectors.T @ left  # (rank, mode)
        cumulative = torch.cat([torch.zeros(1, left.shape[1], dtype=left.dtype), projected.square().cumsum(dim=0)])
        best = torch.full((left.shape[1],), math.inf, dtype=left.dtype)
        shrink = torch.zeros_like(projected)
        counts = sorted({0, *(min(rank, max(1, round(1.3**k))) for k in range(40))})
        for count in counts:
            for ridge in self.ridges:
                shrunk = ridge / (1 + ridge)
                freedom = n - 1 - count * (1 - shrunk)
                if freedom < 1:
                    continue
                error = (1 - (1 - shrunk**2) * cumulative[count]).clamp(min=0) / freedom**2
                better = error < best
                best = torch.where(better, error, best)
                gain = torch.zeros(rank, 1, dtype=left.dtype)
                gain[:count] = 1 - shrunk
                shrink = torch.where(better, gain, shrink)
        coefficients = (shrink * projected) @ (left.T @ data.outputs)
        self._weights = data.vectors @ (coefficients / data.squares[:, None])
        return self

    def predict(self, x: Tensor, parameters: Tensor | None = None) -> Tensor:
        return self._data.shaped(self._data.inner(x, parameters) @ self._weights, x)


def baseline_errors(
    train_set: FunctionDataset, validation_set: FunctionDataset, *, max_items: int = MAX_ITEMS, seed: int = 0
) -> dict[str, float]:
    """The mean relative L2 error of every baseline that applies, fitted on one set and evaluated on the other.

    Parameters
    ----------
    train_set, validation_set
        Function data sets with the same variables on the same grid.
    max_items
        Training items used by the regressions, chosen evenly at random.
    seed
        Seed of their choice.

    Returns
    -------
    dict
        Error by name: mean, persistence (if the outputs are among the inputs), linear, pod-ridge.

    Raises
    ------
    InputError
        Fewer than 2 training items.
    """
    data = Snapshots.of(train_set, max_items=max_items, seed=seed)
    fitted = {
        name: baseline().fit(data)
        for name, baseline in baselines.items()
        if baseline is not Persistence or Persistence.applies(train_set)
    }
    metric = RelativeL2(validation_set.grid)
    sums = dict.fromkeys(fitted, 0.0)
    exact = validation_set.astype(torch.float64)
    for start in range(0, len(exact), _BLOCK):
        batch = exact.batch(range(start, min(start + _BLOCK, len(exact))))
        for name, baseline in fitted.items():
            prediction = baseline.predict(batch["x"], batch.get("parameters"))
            sums[name] += float(metric.per_sample(prediction, batch["y"], batch.get("mask")).sum())
    return {name: total / len(exact) for name, total in sums.items()}


def _latest(dataset: FunctionDataset, output: int) -> int | None:
    """The input channel with the newest values of what an output channel is, or None."""
    wanted = dataset.output_channels[output]
    same = [
        (channel.frame or 0, number)
        for number, channel in enumerate(dataset.input_channels)
        if (channel.variable, channel.component) == (wanted.variable, wanted.component)
    ]
    return max(same)[1] if same else None
