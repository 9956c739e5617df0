r"""Descriptions of the smoothers of multigrid: lists of sweeps, and the usual ones by name.

A sweep over the operator A of :mod:`sciops.kernels.stencil` is a step along the scaled residual with some momentum,

.. math:: u_{k+1} = u_k + \alpha_k (u_k - u_{k-1}) + \beta_k\, m_k\, s\, (b - A u_k),

with a scale s for each cell (1/D, or a learned damping) and :math:`m_k` the cells that the sweep changes: all of them,
or one colour of a checkerboard. :class:`Sweeps` holds :math:`\alpha`, :math:`\beta` and the colours; the kernels of
:mod:`sciops.kernels.smoothing` take it and run all sweeps in one pass.

From a zero guess the sweeps are a linear map B of b. Its transpose B' is B for sweeps over all cells, and B with the
sweeps in reverse order for the checkerboard. A cycle is symmetric when its second smoother is :meth:`Sweeps.adjoint` of
its first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sciops.errors import InputError


@dataclass(frozen=True)
class Sweeps:
    """What a smoother does, sweep by sweep: see the module's equation.

    Parameters
    ----------
    momentum
        alpha of each sweep.
    step
        beta of each sweep.
    colour
        The cells that each sweep changes: 0 all, 1 those whose indices add up to an even number, 2 the others.
    """

    momentum: tuple[float, ...]
    step: tuple[float, ...]
    colour: tuple[int, ...]

    def __post_init__(self) -> None:
        lengths = {len(self.momentum), len(self.step), len(self.colour)}
        if len(lengths) != 1 or 0 in lengths:
            raise InputError(f"sweeps need as many momenta, steps and colours, at least one; got {self}")
        numbers = (*self.momentum, *self.step)
        if not all(isinstance(x, int | float) and math.isfinite(x) for x in numbers):
            raise InputError(f"momenta and steps of sweeps are finite numbers, got {self.momentum} and {self.step}")
        if any(not isinstance(c, int) or c not in (0, 1, 2) for c in self.colour):
            raise InputError(f"colours of sweeps are 0 (all), 1 (even) and 2 (odd), got {self.colour}")
        if any(self.momentum) and any(self.colour):
            raise InputError(f"sweeps with momentum change all cells (colour 0), got colours {self.colour}")

    def adjoint(self) -> Sweeps:
        """The sweeps whose map from b to u is the transpose of this one's.

        Examples
        --------
        >>> gauss_seidel().adjoint() == gauss_seidel(reverse=True)
        True
        """
        if any(self.momentum):
            return self  # a polynomial in s A, times s: symmetric
        return Sweeps(self.momentum, self.step[::-1], self.colour[::-1])


def jacobi(steps: int = 1) -> Sweeps:
    """Steps u + s (b - A u): damped Jacobi with s = omega / D, l1-Jacobi with :func:`~sciops.kernels.l1_scale`.

    Parameters
    ----------
    steps
        Number of sweeps.

    Returns
    -------
    Sweeps

    Raises
    ------
    InputError
        For less than one step.

    Examples
    --------
    >>> jacobi(2).step
    (1.0, 1.0)
    """
    _require_steps(steps)
    return Sweeps((0.0,) * steps, (1.0,) * steps, (0,) * steps)


def chebyshev(degree: int = 2, bounds: tuple[float, float] = (0.5, 2.0)) -> Sweeps:
    """The polynomial of a degree that damps best what has eigenvalues of s A between two bounds.

    Parameters
    ----------
    degree
        Number of sweeps.
    bounds
        The smallest and the largest eigenvalue of s A to damp. With s = 1/D and a diagonal not below the sum of the
        couplings, no eigenvalue is above 2.

    Returns
    -------
    Sweeps
        The three-term recurrence as momenta and steps.

    Raises
    ------
    InputError
        For a degree below one, or bounds that are not positive and increasing.

    References
    ----------
    Y. Saad, "Iterative methods for sparse linear systems", 2003, algorithm 12.1.

    Examples
    --------
    >>> chebyshev(1, (1.0, 3.0)).step
    (0.5,)
    """
    _require_steps(degree)
    two = isinstance(bounds, Sequence) and len(bounds) == 2 and all(isinstance(x, int | float) for x in bounds)
    if not two or not 0 < bounds[0] < bounds[1] < math.inf:
        raise InputError(f"bounds of a Chebyshev smoother are two positive increasing numbers, got {bounds!r}")
    low, high = bounds
    centre, half = (high + low) / 2, (high - low) / 2
    momentum, step, rho = [0.0], [1 / centre], half / centre
    for _ in range(degree - 1):
        following = 1 / (2 * centre / half - rho)
        momentum.append(following * rho)
        step.append(2 * following / half)
        rho = following
    return Sweeps(tuple(momentum), tuple(step), (0,) * degree)


def gauss_seidel(steps: int = 1, *, reverse: bool = False) -> Sweeps:
    """Red-black Gauss-Seidel (s = 1/D) or over-relaxation (s = omega/D): even cells, then odd ones.

    Parameters
    ----------
    steps
        Number of times that all cells are visited.
    reverse
        Odd cells first: the adjoint, for the way up of a symmetric cycle.

    Returns
    -------
    Sweeps

    Raises
    ------
    InputError
        For less than one step.

    Notes
    -----
    Along a periodic axis with an odd number of cells the two ends have one colour and are neighbours. They are changed
    together, each from the other's old value; the map stays the adjoint of its reverse.

    Examples
    --------
    >>> gauss_seidel(reverse=True).colour
    (2, 1)
    """
    _require_steps(steps)
    return Sweeps((0.0,) * 2 * steps, (1.0,) * 2 * steps, ((2, 1) if reverse else (1, 2)) * steps)


def _require_steps(steps: int) -> None:
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise InputError(f"a smoother needs a whole number of steps, at least one, got {steps!r}")
