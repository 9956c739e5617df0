"""Solve flow through a random medium: what is taken and why, preconditioners, a gradient, a failure that is named.

    python examples/solve_diffusion.py

runs in seconds.
"""

import torch

from sciops.data import Field, Grid
from sciops.errors import SolverError
from sciops.solvers import Darcy, linear, solve

# Two materials, one a thousand times as permeable, in 128 x 128 cells; pressure 1 on the left, 0 on the right.
grid = Grid.unit(128, 128, kind="cell")
x, y = grid.coordinates()
channels = torch.sin(9 * x + 3 * torch.cos(7 * y)) > 0
k = Field(torch.where(channels, 1000.0, 1.0)[None].double(), grid, names=("permeability",))
flow = Darcy(k, 0.0, [("dirichlet", "dirichlet"), "neumann"], values=[(1.0, 0.0), 0.0])

found = solve(flow, rtol=1e-8)
print(found.message)
pressure = found.value.values[0]
assert found.converged and 0 < float(pressure.min()) < float(pressure.max()) < 1

# The same system by hand: iterations of each preconditioner.
problem = flow.linear()
A, b = problem.operator, problem.rhs
counts = {}
for M in ("jacobi", "ic0", "schwarz", "fast", "amg", "multigrid"):
    try:
        counts[M] = int(linear.cg(A, b, M=M, rtol=1e-8).iterations)
        print(f"{M:10} {counts[M]:5} iterations")
    except ImportError as error:
        print(f"{M:10} {error}")
assert counts["multigrid"] < counts["ic0"] < counts["jacobi"]

# What flows through, and how it changes with the permeability of every cell: one more solve, by the adjoint.
trainable = k.values.clone().requires_grad_()
A = linear.Diffusion(Field(trainable, grid), boundary=flow.boundary)
u = linear.cg(A, A.right_hand_side(0.0, flow.values), M="ic0", rtol=1e-10).value
half = grid.spacing[0] / 2
through = (trainable[0, 0] * (1 - u[0]) / half).mean()
through.backward()
# the flux is linear in the permeability as a whole, so its derivative along k is the flux itself
flux, along = through.item(), (trainable.grad * k.values).sum().item()
print(f"flux {flux:.4f}, derivative along the permeability {along:.4f}")
assert abs(along / flux - 1) < 1e-6

# No side holds the pressure, and more goes in than comes out: there is no answer, and that is said.
try:
    solve(Darcy(k, 1.0, "neumann"))
    raise AssertionError("a system without an answer was answered")
except SolverError as error:
    print(error)
