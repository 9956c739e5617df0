"""`PyAMG`: algebraic multigrid of the pyamg package, for unstructured matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from sciops.errors import InputError, MissingDependencyError, did_you_mean
from sciops.solvers.linear.operator import LinearOperator
from sciops.solvers.linear.preconditioner import Inverse, preconditioners

_KINDS = ("smoothed aggregation", "ruge-stueben")


@preconditioners.register("amg")
class PyAMG:
    """One V-cycle of algebraic multigrid with symmetric Gauss-Seidel, set up by pyamg, on a processor.

    Parameters
    ----------
    A
        A symmetric operator that has `to_scipy`.
    kind
        "smoothed aggregation", or "ruge-stueben" for M-matrices.
    near_nullspace
        The fields that A takes nearly to zero, ``(kept, *space)``: constants if None; rigid motions for elasticity,
        which `Elasticity.near_nullspace` has.

    Raises
    ------
    MissingDependencyError
        Without pyamg, which the extra sciops[amg] installs.
    InputError
        For another kind, or an operator that is not symmetric.

    Examples
    --------
    >>> import torch
    >>> from sciops.solvers.linear import Diffusion, cg
    >>> A = Diffusion(torch.ones(32, 32, dtype=torch.float64), grid=1 / 32)
    >>> bool(cg(A, torch.ones(32, 32, dtype=torch.float64), M=PyAMG(A, "ruge-stueben")).iterations < 12)
    True
    """

    symmetric = True

    def __init__(
        self, A: LinearOperator, kind: str = "smoothed aggregation", *, near_nullspace: Tensor | None = None
    ) -> None:
        try:
            import pyamg  # type: ignore[import-untyped]
        except ImportError as error:
            raise MissingDependencyError("PyAMG needs pyamg; install it by pip install 'sciops[amg]'") from error
        if kind not in _KINDS:
            raise InputError(f"unknown kind of algebraic multigrid {kind!r}{did_you_mean(str(kind), _KINDS)}")
        if not A.symmetric:
            raise InputError(f"the cycles of PyAMG need a symmetric operator and {A!r} is not; use 'lu'")
        matrix = A.to_scipy().astype(np.float64)
        options: dict[str, Any] = {"max_coarse": 200}
        if kind == _KINDS[0] and near_nullspace is not None:
            options["B"] = near_nullspace.detach().cpu().double().reshape(len(near_nullspace), -1).numpy().T
        make = pyamg.smoothed_aggregation_solver if kind == _KINDS[0] else pyamg.ruge_stuben_solver
        self.hierarchy: Any = make(matrix, **options)
        self.kind = kind
        self._cycle = Inverse(self.hierarchy.aspreconditioner(cycle="V").matvec, None, True, kind)

    def __call__(self, r: Tensor) -> Tensor:
        return self._cycle(r.double()).to(r.dtype)

    def __repr__(self) -> str:
        return f"PyAMG({self.kind}, {len(self.hierarchy.levels)} levels)"
