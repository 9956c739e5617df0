"""How good a prediction is: errors of fields, spectra, and rollouts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sciops.data.domains.domain import Axis, Domain, Grid
from sciops.errors import InputError
from sciops.training.losses import RelativeL2


def relative_l2(
    prediction: Float[Tensor, "batch channel *space"],
    target: Float[Tensor, "batch channel *space"],
    grid: Domain,
    mask: Tensor | None = None,
) -> Float[Tensor, " batch"]:
    r"""The relative error of each sample, :math:`\|p - y\| / \|y\|`, quadrature-weighted, averaged over channels.

    Parameters
    ----------
    prediction, target
        (batch, channel, *space), on `grid` or the same domain at another resolution.
    grid
        The domain.
    mask
        Where to measure, see `RelativeL2`.

    Raises
    ------
    InputError
        If the shapes differ, or do not fit the grid.

    Examples
    --------
    >>> relative_l2(torch.full((1, 1, 4), 2.0), torch.ones(1, 1, 4), Grid.unit(4))
    tensor([1.])
    """
    return RelativeL2(grid).per_sample(prediction, target, mask)


def rmse(
    prediction: Float[Tensor, "batch channel *space"],
    target: Float[Tensor, "batch channel *space"],
    grid: Domain,
    mask: Tensor | None = None,
) -> Float[Tensor, "batch channel"]:
    r"""The root mean square error of each channel, :math:`(|\Omega|^{-1} \int (p-y)^2)^{1/2}`, in the field's units.

    Parameters
    ----------
    prediction, target
        (batch, channel, *space).
    grid
        The domain.
    mask
        Where to measure, see `RelativeL2`; the integral is divided by the volume of that part.

    Raises
    ------
    InputError
        If the shapes differ, or do not fit the grid.

    Examples
    --------
    >>> rmse(torch.full((1, 1, 4), 3.0), torch.ones(1, 1, 4), Grid.unit(4))
    tensor([[2.]])
    """
    _same(prediction, target)
    norm = RelativeL2(grid)
    if mask is None:
        return norm.norm(prediction - target) / math.sqrt(grid.volume)
    return norm.norm(prediction - target, mask) / norm.norm(torch.ones_like(target), mask)


def vrmse(
    prediction: Float[Tensor, "batch channel *space"],
    target: Float[Tensor, "batch channel *space"],
    grid: Domain,
    mask: Tensor | None = None,
) -> Float[Tensor, "batch channel"]:
    r"""The root mean square error over the standard deviation of the target in space: 1 is what its mean would give.

    Parameters
    ----------
    prediction, target
        (batch, channel, *space).
    grid
        The domain. Mean and deviation are quadrature-weighted.
    mask
        Where to measure, see `RelativeL2`.

    Raises
    ------
    InputError
        If the shapes differ, or do not fit the grid.

    References
    ----------
    Ohana et al., The Well: a large-scale collection of diverse physics simulations for machine learning, NeurIPS 2024.

    Examples
    --------
    >>> y = torch.linspace(0, 1, 8)[None, None]
    >>> vrmse(y.mean().expand_as(y), y, Grid.unit(8, kind="cell"))
    tensor([[1.]])
    """
    shape = tuple(target.shape[2:])
    domain = grid.resized(*shape) if isinstance(grid, Grid) and shape != grid.shape else grid
    weights = domain.weights().to(target) / grid.volume
    space = tuple(range(2, target.ndim))
    if mask is None:
        mean = (target * weights).sum(dim=space, keepdim=True)
    else:
        inside = mask.to(device=target.device, dtype=torch.bool)
        parts = torch.where(inside, weights, 0.0).expand_as(target)
        mean = (torch.where(inside, target, 0.0) * parts).sum(space, keepdim=True) / parts.sum(space, keepdim=True)
    return rmse(prediction, target, grid, mask) / rmse(mean.expand_as(target), target, grid, mask)


def max_error(
    prediction: Float[Tensor, "batch channel *space"],
    target: Float[Tensor, "batch channel *space"],
    mask: Tensor | None = None,
) -> Float[Tensor, "batch channel"]:
    """The largest absolute error of each channel over the nodes (of a mask, see `RelativeL2`), in the field's units.

    Raises
    ------
    InputError
        If the shapes differ.

    Examples
    --------
    >>> max_error(torch.tensor([[[1.0, 5.0]]]), torch.zeros(1, 1, 2))
    tensor([[5.]])
    """
    _same(prediction, target)
    error = (prediction - target).abs()
    if mask is not None:
        error = torch.where(mask.to(device=error.device, dtype=torch.bool), error, 0.0)
    return error.flatten(2).amax(dim=2)


def error_by_time(
    prediction: Float[Tensor, "batch time channel *space"],
    target: Float[Tensor, "batch time channel *space"],
    grid: Domain,
    mask: Tensor | None = None,
) -> Float[Tensor, "batch time"]:
    """The relative error of every frame of a rollout.

    Parameters
    ----------
    prediction, target
        (batch, time, channel, *space), without the frames given as history.
    grid
        The domain.
    mask
        Where to measure: (*space) or (batch, 1, *space), the same in every frame.

    Raises
    ------
    InputError
        If the shapes differ, or do not fit the grid.

    Examples
    --------
    >>> error_by_time(torch.full((1, 2, 1, 4), 2.0), torch.ones(1, 2, 1, 4), Grid.unit(4))
    tensor([[1., 1.]])
    """
    _same(prediction, target)
    if prediction.ndim != grid.ndim + 3:
        raise InputError(f"expected (batch, time, channel, {', '.join(grid.dims)}), got {tuple(prediction.shape)}")
    if mask is not None and mask.ndim > grid.ndim and mask.shape[0] > 1:
        mask = mask.repeat_interleave(prediction.shape[1], dim=0)
    errors = relative_l2(prediction.flatten(0, 1), target.flatten(0, 1), grid, mask)
    return errors.reshape(prediction.shape[:2])


def error_by_window(
    errors: Float[Tensor, "batch time"], windows: Sequence[tuple[int, int]]
) -> Float[Tensor, "batch window"]:
    """The mean error in windows of time.

    Parameters
    ----------
    errors
        (batch, time), from `error_by_time`.
    windows
        Pairs (first, last) of steps from 1, both included.

    Raises
    ------
    InputError
        If a window is empty or leaves the rollout.

    Examples
    --------
    >>> error_by_window(torch.tensor([[1.0, 2.0, 4.0]]), [(1, 1), (2, 3)])
    tensor([[1., 3.]])
    """
    steps = errors.shape[1]
    for first, last in windows:
        if not 1 <= first <= last <= steps:
            raise InputError(f"the window of steps {first} to {last} is not within the rollout, 1 to {steps}")
    return torch.stack([errors[:, first - 1 : last].mean(dim=1) for first, last in windows], dim=1)


def time_to_failure(errors: Float[Tensor, "batch time"], threshold: float = 0.2) -> Int64[Tensor, " batch"]:
    """How many steps stay below a relative error: the first step (from 0) above it, or all steps if none is.

    A value that is not finite is above every threshold.

    Parameters
    ----------
    errors
        (batch, time), from `error_by_time`.
    threshold
        The relative error that counts as failure.

    Raises
    ------
    InputError
        If the threshold is not positive.

    Examples
    --------
    >>> time_to_failure(torch.tensor([[0.1, 0.3, 0.1], [0.1, 0.1, 0.1]]))
    tensor([1, 3])
    """
    if not threshold > 0:
        raise InputError(f"the threshold must be positive, got {threshold}")
    good = errors <= threshold
    return good.long().cumprod(dim=1).sum(dim=1)


def energy_spectrum(
    values: Float[Tensor, "batch channel *space"], grid: Grid
) -> tuple[Float[Tensor, " shell"], Float[Tensor, "batch channel shell"]]:
    r"""The mean square of a field by wavenumber, in shells :math:`s - 1/2 \le |k| < s + 1/2`.

    A wavenumber counts waves over the extent of an axis. Periodic axes by Fourier modes; others by cosine modes
    :math:`\cos(\pi m x / \ell)` of wavenumber m/2 (an even extension has no jump at the ends, so no window is needed).
    The shells add up to the mean square of the field at the nodes (trapezoid-weighted on closed and left axes).

    Parameters
    ----------
    values
        (batch, channel, *space).
    grid
        The domain.

    Returns
    -------
    tuple of Tensor
        Wavenumbers (shell,) from 0, and energies (batch, channel, shell).

    Raises
    ------
    InputError
        If the number of axes is not that of the grid.

    Examples
    --------
    >>> x = Grid.unit(16, kind="periodic").coordinates()[0]
    >>> k, e = energy_spectrum(torch.sin(2 * torch.pi * 3 * x)[None, None], Grid.unit(16, kind="periodic"))
    >>> int(k[e[0, 0].argmax()]), float(e.sum().round(decimals=6))
    (3, 0.5)
    """
    if values.ndim != grid.ndim + 2:
        raise InputError(f"expected (batch, channel, {', '.join(grid.names)}), got {tuple(values.shape)}")
    domain = grid if tuple(values.shape[2:]) == grid.shape else grid.resized(*values.shape[2:])
    domain.require_uniform("an energy spectrum")
    coefficients: Tensor = values
    squared = torch.zeros(domain.shape, dtype=torch.float64, device=values.device)
    energy = torch.ones((), dtype=values.dtype, device=values.device)
    for dim, axis in enumerate(domain.axes):
        shape = [1] * domain.ndim
        shape[dim] = -1
        if axis.kind == "periodic":
            coefficients = torch.fft.fft(coefficients, dim=dim + 2, norm="forward")
            wavenumber = torch.fft.fftfreq(axis.size, 1 / axis.size, dtype=torch.float64, device=values.device)
        else:
            matrix, wavenumber = (t.to(values.device) for t in _cosine_analysis(axis))
            moved = coefficients.movedim(dim + 2, -1) @ matrix.to(coefficients.dtype).T
            coefficients = moved.movedim(-1, dim + 2)
            weight = torch.full((axis.size,), 0.5, dtype=values.dtype, device=values.device)
            weight[0] = 1
            if axis.kind != "cell":
                weight[-1] = 1
            energy = energy * weight.view(shape)
        squared = squared + wavenumber.view(shape) ** 2
    shells = (squared.sqrt() + 0.5).floor().long().flatten()
    power = (coefficients.abs().square() * energy).flatten(2)
    result = torch.zeros(*power.shape[:2], int(shells.max()) + 1, dtype=values.dtype, device=values.device)
    result.index_add_(2, shells, power)
    return torch.arange(result.shape[2], device=values.device, dtype=torch.float64), result


def spectral_error(
    prediction: Float[Tensor, "batch channel *space"],
    target: Float[Tensor, "batch channel *space"],
    grid: Grid,
    *,
    bands: Sequence[tuple[int, int]],
) -> Float[Tensor, "batch channel band"]:
    r"""The relative error in bands of wavenumber, :math:`(\sum E_{p-y} / \sum E_y)^{1/2}` over the shells of each.

    Parameters
    ----------
    prediction, target
        (batch, channel, *space).
    grid
        The domain.
    bands
        Pairs (first, last) of wavenumber shells, both included; see `energy_spectrum`.

    Raises
    ------
    InputError
        If the shapes differ, or a band is empty or above the highest wavenumber of the grid.

    Examples
    --------
    >>> y = torch.randn(1, 1, 16)
    >>> spectral_error(1.1 * y, y, Grid.unit(16, kind="periodic"), bands=[(0, 3), (4, 8)]).round(decimals=3)
    tensor([[[0.1000, 0.1000]]])
    """
    _same(prediction, target)
    _, error = energy_spectrum(prediction - target, grid)
    wavenumbers, energy = energy_spectrum(target, grid)
    parts = []
    for first, last in bands:
        if not 0 <= first <= last < len(wavenumbers):
            raise InputError(f"the band {first} to {last} is not within the wavenumbers 0 to {len(wavenumbers) - 1}")
        parts.append((error[..., first : last + 1].sum(-1) / energy[..., first : last + 1].sum(-1)).sqrt())
    return torch.stack(parts, dim=-1)


def _cosine_analysis(axis: Axis) -> tuple[Tensor, Tensor]:
    """The matrix from nodes to cosine coefficients, and the wavenumber of each coefficient."""
    n = axis.size
    modes = torch.arange(n, dtype=torch.float64)
    if axis.kind == "cell":
        nodes = (modes + 0.5) / n
        matrix = 2 / n * torch.cos(math.pi * modes[:, None] * nodes)
        matrix[0] /= 2
        return matrix, modes / 2
    if n == 1:  # a left axis with one node: a constant
        return torch.ones(1, 1, dtype=torch.float64), modes
    nodes = modes / (n - 1)
    matrix = 2 / (n - 1) * torch.cos(math.pi * modes[:, None] * nodes)
    matrix[:, [0, -1]] /= 2
    matrix[[0, -1]] /= 2
    # the nodes of a left axis span one spacing less than its extent
    return matrix, modes / 2 * (axis.extent / (axis.spacing * (n - 1)))


def _same(prediction: Tensor, target: Tensor) -> None:
    if prediction.shape != target.shape:
        raise InputError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape")
