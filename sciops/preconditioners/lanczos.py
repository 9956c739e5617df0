"""Ritz pairs of symmetric operators by Lanczos with full reorthogonalisation: what deep conjugate directions learn."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.krylov import dot
from sciops.kernels.minres import minres_lanczos_, minres_start
from sciops.solvers.linear import LinearOperator

_LOWER = 9.0  # weight of the lower half of the spectrum, as published
_ENDED = 1e-10  # of the largest Ritz value, below which a new Lanczos vector is rounding
_KNOWN: weakref.WeakKeyDictionary[LinearOperator, dict[tuple[int, int], RitzVectors]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class RitzVectors:
    """Approximate eigenvectors of an operator, or of each of a batch.

    Attributes
    ----------
    values : Tensor
        Ritz values in rising order, ``(batch, m)``, float64.
    vectors : Tensor
        Of norm one, ``(batch, m, n)``, single precision.
    space : tuple of int
        Shape of a field; n is its size.

    Examples
    --------
    >>> from sciops.solvers.linear import Diffusion
    >>> A = Diffusion(torch.ones(8, 8, dtype=torch.float64), grid=1 / 8)
    >>> data = ritz_vectors(A, 12)
    >>> b = data.draw(3, torch.Generator().manual_seed(1))
    >>> data.values.shape, data.vectors.shape
    (torch.Size([1, 12]), torch.Size([1, 12, 64]))
    >>> b.shape, b.flatten(2).norm(dim=2).round(decimals=4).tolist()
    (torch.Size([1, 3, 8, 8]), [[1.0, 1.0, 1.0]])
    """

    values: Float[Tensor, "batch m"]
    vectors: Float[Tensor, "batch m n"]
    space: tuple[int, ...]

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, "batch {count} *space"]:
        """Random combinations of norm one for each operator; the lower half of the spectrum weighs nine times as much.

        Notes
        -----
        The coefficients of an iterate's residual lie mostly in the lower half, which conjugate gradients find hard.
        """
        batch, m, _ = self.vectors.shape
        weights = torch.where(torch.arange(m) < m // 2, _LOWER, 1.0)
        drawn = torch.randn(batch, count, m, generator=generator, device=generator.device).cpu() * weights
        b = drawn.to(self.vectors) @ self.vectors
        unit: Tensor = b / b.norm(dim=2, keepdim=True)
        return unit.view(batch, count, *self.space)


def ritz_vectors(A: LinearOperator, steps: int, seed: int = 0) -> RitzVectors:
    r"""The Ritz pairs of A on the Krylov space of A v, v random: :math:`\{A v, A^2 v, \dots\}`.

    With A v in place of v, nothing of a null space of A is in it. In the obstacles of a Diffusion operator v is zero.

    Parameters
    ----------
    A
        A symmetric operator or a batch of them.
    steps
        Dimension of the space, at least 1. Fewer where the space is exhausted, as it is after as many steps as A has
        different eigenvalues.
    seed
        Of v.

    Returns
    -------
    RitzVectors
        In rising order of the values. The same object again for the same operator, which keeps it as long as it lives.

    Raises
    ------
    InputError
        If A is not symmetric, or steps is not a whole number above 0.

    Notes
    -----
    Time grows as steps^2 n, memory as steps n. Each new vector is made orthogonal to all before it, twice: what the
    three-term recurrence leaves of them grows as soon as a Ritz value converges.

    References
    ----------
    C. Lanczos, "An iteration method for the solution of the eigenvalue problem of linear differential and integral
    operators", 1950; B. N. Parlett, "The symmetric eigenvalue problem", 1998.

    Examples
    --------
    With as many steps as A has different eigenvalues, they are its eigenvalues:

    >>> from sciops.solvers.linear import Diffusion
    >>> A = Diffusion(torch.ones(5, dtype=torch.float64), grid=1.0)
    >>> exact = torch.linalg.eigvalsh(torch.from_numpy(A.to_scipy().toarray()))
    >>> bool((ritz_vectors(A, 5).values[0] - exact).abs().max() < 1e-12)
    True
    """
    if not A.symmetric:
        raise InputError(f"Ritz vectors are those of a symmetric operator, {A!r} is not")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InputError(f"steps is {steps!r}, a whole number of at least 1 is expected")
    known = _KNOWN.setdefault(A, {})
    if (steps, seed) not in known:
        with torch.no_grad():
            known[steps, seed] = _lanczos(A.to(torch.float64), min(steps, A.unknowns), seed)
    return known[steps, seed]


def _lanczos(A: LinearOperator, steps: int, seed: int) -> RitzVectors:
    fields = (A.batch, 1, *A.space)
    drawn = torch.randn(fields, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    mask = getattr(A, "mask", None)
    # rows of obstacles are those of the identity, and no solve is about them
    drawn = drawn if mask is None else torch.where(mask.cpu(), drawn, 0)
    r = A.apply(drawn.to(A.device)).flatten(1).contiguous()
    old, status = torch.zeros_like(r), torch.zeros(len(r), dtype=torch.int32, device=r.device)
    scalars = minres_start(dot(r, r).sqrt())
    basis = r.new_zeros(len(r), steps, r.shape[1])
    alphas, betas, taken = [], [], 0
    for step in range(steps):
        basis[:, step] = r / scalars[1][:, None]
        image = A.apply(r.view(fields)).reshape(r.shape).contiguous()
        alphas.append(minres_lanczos_(old, r, r, image, scalars, status))
        old, r = r, old
        taken = step + 1
        before = basis[:, :taken]
        for _ in range(2):
            r -= torch.einsum("bmn,bm->bn", before, torch.einsum("bmn,bn->bm", before, r))
        betas.append(dot(r, r).sqrt())
        scalars[0], scalars[1] = scalars[1].clone(), betas[-1]
        if bool((betas[-1] <= _ENDED * torch.stack(alphas).abs().amax(0)).any()):
            break
    matrix = torch.diag_embed(torch.stack(alphas, -1))
    if taken > 1:
        upper = torch.diag_embed(torch.stack(betas[:-1], -1), 1)
        matrix = matrix + upper + upper.mT
    values, shares = torch.linalg.eigh(matrix)
    vectors = (shares.mT @ basis[:, :taken]).float()
    return RitzVectors(values, vectors / vectors.norm(dim=2, keepdim=True), A.space)
