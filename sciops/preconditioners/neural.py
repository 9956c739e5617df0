r"""`NeuralPreconditioner`: a network of any kind between two smoothers, by a Galerkin correction.

What a network proposes enters the same way in both forms, as a space V that the error is corrected in,

.. math:: C = V (V^T A V)^{-1} V^T,

which tests the residual with the functions that it corrects by: C is symmetric positive semidefinite whatever V is.
With a smoother S before and after,

.. math:: I - M A = (I - S A)(I - C A)(I - S A),

M is symmetric positive definite for a given V. The two forms differ in what V depends on.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg as splinalg
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciops.errors import InputError, did_you_mean
from sciops.kernels.smoothing import smooth, smooth_residual
from sciops.kernels.stencil import diffusion_apply, diffusion_residual
from sciops.kernels.sweeps import Sweeps, chebyshev
from sciops.preconditioners.base import LearnedPreconditioner, registry
from sciops.solvers.linear import LinearOperator, fcg
from sciops.solvers.linear.cycles import Cycle, cycle
from sciops.solvers.linear.operator import require_stencil

FORMS = ("coarse", "direction")
_LARGEST = 2.0  # eigenvalue of D^-1 A where the diagonal is not below the sum of the couplings
_SHIFT = 1e-6  # of the diagonal of V' A V, in which functions of V may depend on each other
_WARM = 8  # the most iterations of the method before the one that the loss is for
_LEAST = 1e-6  # of a right-hand side: what is below is rounding in single precision

Fields = Float[Tensor, "batch rhs *space"]


class Stencil(NamedTuple):
    """An operator in single precision, its largest diagonal entry 1."""

    diagonal: Float[Tensor, "batch *space"]
    coupling: Float[Tensor, "batch d *space"]
    scale: float

    def apply(self, u: Fields) -> Fields:
        """A u."""
        return diffusion_apply(self.diagonal, self.coupling, u.contiguous())


@registry.register("neural")
class NeuralPreconditioner(LearnedPreconditioner):
    r"""A network as a preconditioner for diffusion on a grid.

    ===========  ================================  =============================================  ================
    form         what the network sees             what its output channels are                   the map is
    ===========  ================================  =============================================  ================
    "coarse"     the operator, 2 d + 1 channels    functions that, with the constant, are cut     linear, SPD: cg
                                                   into pieces by hat functions on blocks
    "direction"  the residual after the smoother   directions of the correction themselves        nonlinear: fcg
                 and the operator, 2 d + 2
                 channels
    ===========  ================================  =============================================  ================

    The channels of the operator are the logarithm of its diagonal, without its mean, and the couplings to all
    neighbours over the diagonal; the residual comes first, scaled to mean square 1. The network runs once for an
    operator in the form "coarse", and in every iteration in the form "direction".

    Parameters
    ----------
    network
        Maps ``(batch, channel, *space)`` to ``(batch, any number, *space)``, as the operators of `sciops.operators` do.
    form
        "coarse" or "direction".
    block
        Cells along a side of a block, at least 2.
    smoothing
        Degree of the Chebyshev smoother.

    Raises
    ------
    InputError
        For another form or a number out of range.

    References
    ----------
    A. Rudikov et al., "Neural operators meet conjugate gradients: the FCG-NO method for efficient PDE solving", 2024;
    Y. Notay, "Flexible conjugate gradients", 2000; Y. Efendiev, J. Galvis, X.-H. Wu, "Multiscale finite element methods
    for high-contrast problems using local spectral basis functions", 2011.

    Examples
    --------
    >>> from sciops.solvers.linear import Diffusion, cg
    >>> model = NeuralPreconditioner(torch.nn.Conv2d(5, 2, 3, padding=1))
    >>> A = Diffusion(torch.ones(32, 32, dtype=torch.float64), grid=1 / 32)
    >>> found = cg(A, torch.ones(32, 32, dtype=torch.float64), M=model)
    >>> found.converged, bool(found.iterations < 20)
    (True, True)
    """

    def __init__(self, network: nn.Module, *, form: str = "coarse", block: int = 8, smoothing: int = 3) -> None:
        super().__init__()
        if form not in FORMS:
            raise InputError(f"unknown form {form!r}{did_you_mean(str(form), FORMS)}")
        if block < 2 or smoothing < 1:
            raise InputError(f"block = {block} and smoothing = {smoothing}, expected at least 2 and 1")
        self.network, self.form, self.block, self.smoothing = network, form, block, smoothing
        self.method = "cg" if form == "coarse" else "fcg"

    def setup(self, A: LinearOperator) -> NeuralCycle:
        """The network between its smoothers, for an operator, in single precision.

        In the form "coarse" the network runs here, and V' A V is made and factored.

        Raises
        ------
        InputError
            If A is not on a grid, has periodic axes, or is not known to be positive definite (indefinite and singular
            operators, such as those of closed boxes, are refused), or if the network returns another shape.
        """
        with torch.no_grad():
            stencil = _stencil(A)
            if self.form == "direction":
                return NeuralCycle(stencil, self._sweeps(), self._direction(stencil), symmetric=False)
            space = self._space(stencil)
            return NeuralCycle(stencil, self._sweeps(), _factored(space, space.matrix(stencil)), symmetric=True)

    def loss(self, A: LinearOperator, generator: torch.Generator) -> Tensor:
        r"""The mean logarithm of :math:`\min_\alpha |e - \alpha M r|_A^2 / |e|_A^2` over errors the method leaves.

        The errors are those of random answers after 0 to 8 iterations with the weights as they are.
        """
        stencil = _stencil(A)
        if self.form == "direction":
            correct = self._direction(stencil)
        else:
            space = self._space(stencil)
            correct = _dense(space, space.matrix(stencil))
        M = NeuralCycle(stencil, self._sweeps(), correct, symmetric=self.form == "coarse")
        with torch.no_grad():
            noise = torch.randn(2, A.batch, 1, *A.space, generator=generator).to(stencil.diagonal)
            # an answer that is noise has a rough residual, one whose right-hand side is noise is smooth
            e = torch.cat([noise[0], cycle(M.levels, correct, noise[1] * stencil.diagonal[:, None])], 1)
            steps = int(torch.randint(_WARM + 1, (1,), generator=generator))
            if steps:
                A, start = A.to(torch.float64), e.double()
                reached = fcg(A, A @ start, M=M, maxiter=steps, rtol=_LEAST, raise_on_failure=False)
                e = (start - reached.value).float()
            e = e / e.flatten(2).norm(dim=2).clamp_min(1e-30).view(*e.shape[:2], *[1] * len(A.space))
            r = stencil.apply(e)
        z = cycle(M.levels, correct, r)
        gain = _dot(z, r).square() / (_dot(z, stencil.apply(z)) * _dot(e, r)).clamp_min(1e-30)
        return (1 - gain).clamp_min(1e-6).log().mean()

    def _sweeps(self) -> Sweeps:
        return chebyshev(self.smoothing, (_LARGEST / (1 + self.smoothing) ** 2, _LARGEST))

    def _answer(self, seen: Float[Tensor, "batch known *space"]) -> Float[Tensor, "batch channel *space"]:
        """What the network makes of what it sees; only itself knows how many axes and channels it takes."""
        shape = tuple(seen.shape)
        try:
            out: Tensor = self.network(seen)
        except (RuntimeError, IndexError) as error:
            raise InputError(
                f"the network does not take {shape}, (batch, channel, *space) of this operator: {error}"
            ) from error
        if out.ndim != seen.ndim or (out.shape[0], *out.shape[2:]) != (shape[0], *shape[2:]):
            raise InputError(f"the network returned {tuple(out.shape)} for {shape}, expected its batch and space")
        return out

    def _space(self, A: Stencil) -> CoarseSpace:
        out = self._answer(_features(A))
        return CoarseSpace(torch.cat([torch.ones_like(A.diagonal)[:, None], out], 1), self.block)

    def _direction(self, A: Stencil) -> Callable[[Fields], Fields]:
        known = _features(A)

        def correct(r: Fields) -> Fields:
            size = r.flatten(2).square().mean(2).sqrt().clamp_min(1e-30).view(*r.shape[:2], *[1] * len(r.shape[2:]))
            rhs = r.shape[1]
            seen = torch.cat([(r / size).flatten(0, 1)[:, None], known.repeat_interleave(rhs, 0)], 1)
            V = self._answer(seen)
            k = V.shape[1]
            # the directions of all right-hand sides of an operator, side by side
            AV = A.apply(V.reshape(r.shape[0], rhs * k, *r.shape[2:])).reshape(V.shape)
            gram = V.flatten(2) @ AV.flatten(2).mT
            shift = _SHIFT * gram.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-30)
            gram = gram + shift[:, None, None] * torch.eye(k, dtype=gram.dtype, device=gram.device)
            share = torch.linalg.solve(gram, V.flatten(2) @ r.reshape(len(V), -1, 1))
            found: Tensor = (V.flatten(2) * share).sum(1)
            return found.view(r.shape)

        return correct


class SmoothedLevel:
    """A smoother around a correction on the same cells: the only level of a `NeuralCycle`."""

    def __init__(self, A: Stencil, sweeps: Sweeps) -> None:
        self.A, self.sweeps = A, sweeps

    def down(self, b: Fields) -> tuple[Fields, Fields]:
        return smooth_residual(self.A.diagonal, self.A.coupling, None, b.contiguous(), sweeps=self.sweeps)

    def up(self, b: Fields, u: Fields, e: Fields) -> Fields:
        sweeps = self.sweeps.adjoint()
        return smooth(self.A.diagonal, self.A.coupling, None, b.contiguous(), u + e, sweeps=sweeps)

    def residual(self, b: Fields, u: Fields) -> Fields:
        return diffusion_residual(self.A.diagonal, self.A.coupling, u, b)


class NeuralCycle(Cycle):
    """Smoother, correction, smoother: what `NeuralPreconditioner.setup` gives."""

    def __init__(self, A: Stencil, sweeps: Sweeps, correct: Callable[[Fields], Fields], *, symmetric: bool) -> None:
        super().__init__([SmoothedLevel(A, sweeps)], correct, scale=A.scale, dtype=torch.float32)
        self.space, self.symmetric = tuple(A.diagonal.shape[1:]), symmetric

    @property
    def T(self) -> NeuralCycle:
        """Itself: the operator is symmetric, so derivatives of a solve are solves with the same one."""
        return self

    def __repr__(self) -> str:
        return f"NeuralCycle({self.space}, {'cg' if self.symmetric else 'fcg'})"


class CoarseSpace:
    """Functions on the grid, cut into pieces by hat functions: V of the module's equation, for each operator."""

    def __init__(self, functions: Float[Tensor, "batch channel *space"], block: int) -> None:
        self.functions = functions
        self.hats = [_hats(n, block).to(functions) for n in functions.shape[2:]]
        self.shape = tuple(hat.shape[1] for hat in self.hats)

    def prolong(self, c: Float[Tensor, "batch rhs channel *coarse"]) -> Fields:
        """V c."""
        for axis, hat in enumerate(self.hats):
            c = torch.movedim(torch.movedim(c, axis + 3, -1) @ hat.mT, -1, axis + 3)
        return (c * self.functions[:, None]).sum(2)

    def restrict(self, r: Fields) -> Float[Tensor, "batch rhs channel *coarse"]:
        """V' r."""
        c = r[:, :, None] * self.functions[:, None]
        for axis, hat in enumerate(self.hats):
            c = torch.movedim(torch.movedim(c, axis + 3, -1) @ hat, -1, axis + 3)
        return c

    def matrix(self, A: Stencil) -> tuple[Tensor, Tensor, Tensor]:
        """V' A V: rows, columns, and values ``(batch, entry)``.

        Hats three blocks apart do not meet, not even by way of A: with 3^d fields for each channel, one for each colour
        of a pattern, every entry is seen alone.
        """
        channels, d = self.functions.shape[1], len(self.shape)
        index = torch.arange(math.prod(self.shape)).view(self.shape)
        rows, columns, values = [], [], []
        for colour in itertools.product(range(3), repeat=d):
            marks = torch.zeros(self.shape)
            marks[tuple(slice(c, None, 3) for c in colour)] = 1
            if not bool(marks.any()):
                continue
            # the only node of this colour that is near each node, where there is one
            near = [_nearest(n, c) for n, c in zip(self.shape, colour, strict=True)]
            there = torch.stack(torch.meshgrid(*[inside for _, inside in near], indexing="ij")).all(0)
            place = index[torch.meshgrid(*[where for where, _ in near], indexing="ij")][there]
            unit = torch.eye(channels).view(1, channels, channels, *[1] * d) * marks
            image = self.restrict(
                A.apply(self.prolong(unit.to(self.functions).expand(len(self.functions), *unit.shape[1:])))
            )
            for m in range(channels):
                for n in range(channels):
                    rows.append(index[there] * channels + n)
                    columns.append(place * channels + m)
                    values.append(image[:, m, n][:, there])
        return torch.cat(rows), torch.cat(columns), torch.cat(values, 1)


def _dense(space: CoarseSpace, matrix: tuple[Tensor, Tensor, Tensor]) -> Callable[[Fields], Fields]:
    """V (V' A V)^-1 V' by dense factors, differentiable; one operator at a time."""
    rows, columns, values = matrix
    n = int(rows.max()) + 1
    factors = []
    for one in values.double():
        full = torch.zeros(n, n, dtype=one.dtype).index_put((rows, columns), one)
        factors.append(torch.linalg.cholesky(full + _SHIFT * torch.diag(full.diagonal())))

    def correct(r: Fields) -> Fields:
        c = torch.movedim(space.restrict(r), 2, -1)
        flat = c.reshape(*c.shape[:2], -1).double()
        solved = torch.stack([torch.cholesky_solve(b.mT, L).mT for b, L in zip(flat, factors, strict=True)])
        return space.prolong(torch.movedim(solved.to(r.dtype).view(c.shape), -1, 2))

    return correct


def _factored(space: CoarseSpace, matrix: tuple[Tensor, Tensor, Tensor]) -> Callable[[Fields], Fields]:
    """V (V' A V)^-1 V' by sparse factors, for many unknowns."""
    rows, columns, values = matrix
    n = int(rows.max()) + 1
    factors = []
    for one in values.double().cpu().numpy():
        full = sparse.csc_matrix((one, (rows.numpy(), columns.numpy())), shape=(n, n))
        full = full + sparse.diags(_SHIFT * full.diagonal())
        factors.append(
            splinalg.splu(
                full.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
            )
        )

    def correct(r: Fields) -> Fields:
        c = torch.movedim(space.restrict(r), 2, -1)
        flat = c.reshape(*c.shape[:2], -1).double().cpu().numpy()
        solved = np.stack([lu.solve(b.T).T for b, lu in zip(flat, factors, strict=True)])
        return space.prolong(torch.movedim(torch.from_numpy(solved).to(r).view(c.shape), -1, 2))

    return correct


def _dot(u: Fields, v: Fields) -> Float[Tensor, "batch rhs"]:
    found: Tensor = (u * v).flatten(2).sum(2)
    return found


def _stencil(A: LinearOperator) -> Stencil:
    diagonal, coupling = require_stencil("NeuralPreconditioner", A)
    if A.definite is not True:
        raise InputError(f"NeuralPreconditioner needs a positive definite operator, {A!r} is not known to be one")
    ends = [bool((w.select(a + 1, -1) != 0).any()) for a, w in enumerate(coupling.detach().unbind(1))]
    if any(ends):
        raise InputError(f"NeuralPreconditioner takes no periodic axes, {A!r} has {sum(ends)}")
    scale = float(diagonal.detach().amax())
    return Stencil((diagonal.detach() / scale).float(), (coupling.detach() / scale).float(), scale)


def _features(A: Stencil) -> Float[Tensor, "batch channel *space"]:
    D, d = A.diagonal, A.diagonal.ndim - 1
    logs = D.log()
    logs = (logs - logs.mean(tuple(range(1, d + 1)), keepdim=True)) / 3
    around = [w for a, upper in enumerate(A.coupling.unbind(1)) for w in (upper, upper.roll(1, a + 1))]
    # about 1 where all couplings are alike
    return torch.stack([logs, *[2 * d * w / D for w in around]], 1)


def _hats(n: int, block: int) -> Float[Tensor, "n coarse"]:
    """Linear interpolation from the cells in the middle of blocks, constant beyond the outer ones; rows add up to one.

    A node is a cell, so that A does not couple the hats to the left and to the right of it.
    """
    count = max(1, round(n / block))
    nodes = ((torch.arange(count) + 0.5) * n / count).floor()
    cells = torch.arange(n).clamp(int(nodes[0]), int(nodes[-1]))
    right = torch.searchsorted(nodes, cells.to(nodes.dtype)).clamp(1 if count > 1 else 0)
    left = (right - 1).clamp_min(0)
    share = (cells - nodes[left]) / (nodes[right] - nodes[left]).clamp_min(1)
    hats = torch.zeros(n, count)
    hats[torch.arange(n), left] = 1 - share
    hats[torch.arange(n), right] += share
    return hats


def _nearest(n: int, colour: int) -> tuple[Tensor, Tensor]:
    """For each of n nodes the node of a colour (by threes) at most one away, and whether there is one."""
    i = torch.arange(n)
    where = i + (colour - i + 1) % 3 - 1
    inside = (where >= 0) & (where < n)
    return where.clamp(0, n - 1), inside
