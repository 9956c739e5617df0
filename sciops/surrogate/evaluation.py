"""How well a surrogate does on a data set: errors, skill over time, and whether its error band holds what it says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from rich.console import Group
from rich.table import Table
from rich.text import Text
from torch import Tensor

from sciops.data.domains.domain import Grid
from sciops.training.metrics import (
    energy_spectrum,
    error_by_time,
    error_by_window,
    max_error,
    rmse,
    time_to_failure,
    vrmse,
)


@dataclass(frozen=True)
class Evaluation:
    """Errors of a surrogate on a data set.

    Parameters
    ----------
    samples
        Number of fields or trajectories.
    relative_l2
        Mean over samples of ``||p - y|| / ||y||``, quadrature-weighted, averaged over channels (and frames).
    standard_error
        Of that mean, over samples.
    worst
        Largest relative error of a sample, and its number.
    rmse, max_error, vrmse
        By output channel: root mean square error and largest error in the units of the field; error over spatial
        deviation.
    spectral
        Error in low, middle and high wavenumbers over the norm of the whole field, over all samples: the squares add up
        to that of the relative error, by the mean over channels.
    by_time
        Mean relative error of each step of a rollout; empty for a map.
    by_window
        The same over the early, middle and late third of the steps, named by the first and last one as in ``"1-7"``;
        empty for a map.
    time_to_failure
        Mean number of steps with a relative error below 0.2, of a rollout; None for a map.
    coverage
        Asked-for probability of the error band, and the part of the fields that lay in it as a whole; None without one.
    resolution
        How the grid of the data was served: ``"native"`` or ``"interpolation"`` from the training grid.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> import sciops
    >>> x = np.arange(16) / 16
    >>> waves = np.sin(2 * np.pi * (x + np.linspace(0, 1, 40)[:, None]))
    >>> ds = xr.Dataset({"a": (("sample", "x"), waves), "u": (("sample", "x"), waves**2)}, {"x": x})
    >>> options = {"epochs": 1, "width": 4, "layers": 1, "progress": False}
    >>> surrogate = sciops.fit(ds, inputs="a", outputs="u", **options)  # doctest: +ELLIPSIS
    map a -> u on 16 points ...
    >>> found = surrogate.evaluate(ds)
    >>> found.samples, found.by_time, found.resolution
    (40, (), 'native')
    >>> found.worst[0] >= found.relative_l2 > 0
    True
    """

    samples: int
    relative_l2: float
    standard_error: float
    worst: tuple[float, int]
    rmse: dict[str, float]
    max_error: dict[str, float]
    vrmse: dict[str, float]
    spectral: dict[str, float]
    by_time: tuple[float, ...] = ()
    by_window: dict[str, float] = field(default_factory=dict)
    time_to_failure: float | None = None
    coverage: tuple[float, float] | None = None
    resolution: str = "native"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return dict(vars(self))

    def __rich__(self) -> Group:
        table = Table("error", "value", title=None, box=None, pad_edge=False, header_style="dim")
        table.add_row("relative L2", f"{self.relative_l2:.4f} ± {self.standard_error:.4f}")
        table.add_row("worst sample", f"{self.worst[0]:.4f} (sample {self.worst[1]})")
        for name in self.rmse:
            values = f"RMSE {self.rmse[name]:.4g}, largest {self.max_error[name]:.4g}, VRMSE {self.vrmse[name]:.4f}"
            table.add_row(name, values)
        table.add_row("spectral bands", ", ".join(f"{name} {value:.4f}" for name, value in self.spectral.items()))
        if self.by_time:
            parts = (f"step{'s' * ('-' in name)} {name}: {value:.4f}" for name, value in self.by_window.items())
            table.add_row("by time", ", ".join(parts))
            table.add_row("steps below 20 % error", f"{self.time_to_failure:.1f} of {len(self.by_time)}")
        if self.coverage is not None:
            asked, found = self.coverage
            table.add_row("error band", f"holds {found:.1%} of the whole fields, {asked:.0%} promised")
        return Group(Text(f"{self.samples} samples, {self.resolution} on this grid"), table)


class Accumulator:
    """Collects the errors of batches ``(b, frame, channel, *space)`` into an `Evaluation`."""

    def __init__(self, grid: Grid, names: tuple[str, ...], *, evolve: bool) -> None:
        self.grid, self.names, self.evolve = grid, names, evolve
        self._rows: dict[str, list[Tensor]] = {}
        highest = len(energy_spectrum(torch.zeros(1, 1, *grid.shape, dtype=torch.float64), grid)[0]) - 1
        low, middle = max(1, highest // 4), max(2, highest // 2)
        self.bands = {"low": (0, low), "middle": (low + 1, middle), "high": (middle + 1, highest)}
        self.bands = {name: band for name, band in self.bands.items() if band[0] <= band[1]}

    def add(self, prediction: Tensor, target: Tensor, inside: Tensor | None = None, mask: Tensor | None = None) -> None:
        """Enter a batch; `inside` (b,) says which fields lie in the error band as a whole.

        Where there is a mask (b, 1, *space), predictions and targets are 0 outside of it.
        """
        p, y = prediction.double(), target.double()
        by_time = error_by_time(p, y, self.grid, mask)
        if mask is not None:
            mask = mask.repeat_interleave(p.shape[1], dim=0)
        flat_p, flat_y = p.flatten(0, 1), y.flatten(0, 1)
        rows = {
            "relative": by_time,
            "rmse": rmse(flat_p, flat_y, self.grid, mask).view(*by_time.shape, -1).square().mean(dim=1),
            "max": max_error(flat_p, flat_y).view(*by_time.shape, -1).amax(dim=1),
            "vrmse": vrmse(flat_p, flat_y, self.grid, mask).view(*by_time.shape, -1).mean(dim=1),
            "energy": energy_spectrum(flat_y, self.grid)[1].sum(dim=0)[None],
            "lost": energy_spectrum(flat_p - flat_y, self.grid)[1].sum(dim=0)[None],
        }
        if inside is not None:
            rows["inside"] = inside.double()
        for name, value in rows.items():
            self._rows.setdefault(name, []).append(value.cpu())

    def result(self, *, coverage: float | None, resolution: str) -> Evaluation:
        """The evaluation of all batches."""
        rows = {name: torch.cat(parts) for name, parts in self._rows.items()}
        relative = rows["relative"].mean(dim=1)
        count = len(relative)
        worst = int(relative.argmax())

        def by_channel(values: Tensor) -> dict[str, float]:
            return dict(zip(self.names, values.tolist(), strict=True))

        return Evaluation(
            samples=count,
            relative_l2=float(relative.mean()),
            standard_error=float(relative.std() / count**0.5) if count > 1 else 0.0,
            worst=(float(relative[worst]), worst),
            rmse=by_channel(rows["rmse"].mean(dim=0).sqrt()),
            max_error=by_channel(rows["max"].amax(dim=0)),
            vrmse=by_channel(rows["vrmse"].nanmean(dim=0)),
            spectral={name: self._share(rows, first, last) for name, (first, last) in self.bands.items()},
            by_time=tuple(rows["relative"].mean(dim=0).tolist()) if self.evolve else (),
            by_window=_by_window(rows["relative"]) if self.evolve else {},
            time_to_failure=float(time_to_failure(rows["relative"]).double().mean()) if self.evolve else None,
            coverage=(coverage, float(rows["inside"].mean())) if coverage is not None else None,
            resolution=resolution,
        )

    @staticmethod
    def _share(rows: dict[str, Tensor], first: int, last: int) -> float:
        """The error between two wavenumbers over the norm of the whole field."""
        lost, energy = rows["lost"].sum(dim=0), rows["energy"].sum(dim=(0, 2))
        return float((lost[:, first : last + 1].sum(dim=1) / energy).mean().sqrt())


def _by_window(errors: Tensor) -> dict[str, float]:
    """The mean error in the early, middle and late third of the steps; of one or two steps each is a window."""
    steps = errors.shape[1]
    ends = sorted({max(1, round(steps * third / 3)) for third in (1, 2, 3)})
    windows = list(zip([1, *(end + 1 for end in ends)], ends, strict=False))
    names = [str(first) if first == last else f"{first}-{last}" for first, last in windows]
    return dict(zip(names, error_by_window(errors, windows).mean(dim=0).tolist(), strict=True))
