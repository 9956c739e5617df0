"""Train a preconditioner on random media, use it, save it, and see where classical ones stand.

    python examples/learned_preconditioner.py

runs in well under a minute.
"""

import tempfile
from pathlib import Path

import torch

from sciops.data import Grid
from sciops.operators import ConvNeXtUNet
from sciops.preconditioners import NeuralPreconditioner, families, load, to_scipy, train
from sciops.solvers import LinearProblem, linear, solve

# What it is for: diffusion with two materials at random, one 100 to 1000 times as permeable, drawn anew in every step.
family = families.piecewise(32, 32, contrast=(100.0, 1000.0))


# The network sees the operator and proposes functions for a coarse space; whatever it says, the preconditioner is
# symmetric positive definite, so plain conjugate gradients take it.
def network() -> ConvNeXtUNet:
    return ConvNeXtUNet(5, 3, grid=Grid.unit(32, 32, kind="cell"), width=8, levels=2, blocks=1)


before = NeuralPreconditioner(network()).eval()
model = train(family, NeuralPreconditioner(network()), steps=80, learning_rate=1e-2, progress=False)
record = model.record
first, last = (sum(part) / len(part) for part in (record.losses[:20], record.losses[-20:]))
print(f"trained in {record.seconds:.0f} s: {record.steps} steps, the loss fell from {first:.2f} to {last:.2f}")

# Four systems that it has not seen, on the grid of training and on one four times as fine, to the same true residual.
counts: dict[str, list[int]] = {}
for n in (32, 128):
    generator = torch.Generator().manual_seed(2024)
    A = families.piecewise(n, n, contrast=(100.0, 1000.0))(generator).to(torch.float64)
    b = torch.randn(4, n, n, generator=generator, dtype=torch.float64)
    for name, M in (
        ("Jacobi", "jacobi"),
        ("IC(0)", "ic0"),
        ("before training", before),
        ("after training", model),
        ("multigrid", "multigrid"),
    ):
        counts.setdefault(name, []).append(int(linear.cg(A, b, M=M, rtol=1e-6).iterations.max()))
print("iterations, at most        32 x 32   128 x 128")
for name, (coarse, fine) in counts.items():
    print(f"{name:22} {coarse:11} {fine:11}")
print("what is learned beats what is simple; for this problem multigrid needs fewer iterations still, and no training")
assert counts["after training"][0] < counts["before training"][0] < counts["Jacobi"][0]
assert counts["multigrid"][1] <= counts["after training"][1]

# `solve` takes it, and says what it took.
print(solve(LinearProblem(A, b), preconditioner=model).message)

# Saved and loaded, it is the same; the solvers of SciPy take it too.
with tempfile.TemporaryDirectory() as folder:
    again = load(model.save(Path(folder) / "model"), network=network())
assert torch.equal(again.setup(A)(b[:, None]), model.setup(A)(b[:, None]))
single = A.singles()[0]
print("for SciPy:", to_scipy(again, single).shape)
