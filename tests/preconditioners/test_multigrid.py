"""Learned multigrid under conjugate gradients: trained, set up, saved, and always positive."""

from __future__ import annotations

import pytest
import torch

from sciops.errors import InputError
from sciops.preconditioners import LearnedMultigrid, families, train
from sciops.solvers.linear import Chebyshev, Diffusion, Multigrid, cg
from sciops.solvers.linear.cycles import cycle


def system(generator, *space, contrast=(10.0, 1e3)):
    A = families.piecewise(*space, contrast=contrast, batch=2)(generator).to(torch.float64)
    return A, torch.randn(2, *space, generator=generator, dtype=torch.float64)


def randomised(model, generator, size=1.0):
    for p in model.parameters():
        p.data = size * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return model


@pytest.mark.parametrize("space", [(100,), (33, 40), (12, 10, 11)])
def test_any_weights_converge(space, generator):
    A, b = system(generator, *space)
    model = randomised(LearnedMultigrid(len(space), first=0), generator)
    assert cg(A, b, M=model, rtol=1e-8).converged


@pytest.mark.parametrize("space", [(64, 64), (16, 16, 16)])
def test_untrained_it_is_black_box_multigrid(space, generator):
    A, b = system(generator, *space)
    ours = cg(A, b, M=LearnedMultigrid(len(space)), rtol=1e-8).iterations
    classical = cg(A, b, M=Multigrid(A, smoother=Chebyshev(3, 0.15)), rtol=1e-8).iterations
    # the same but for the damping, which is that of l1-Jacobi here
    assert bool((ours <= 1.3 * classical + 2).all()) and bool((classical <= 1.3 * ours + 2).all())


def test_what_is_set_up_is_what_is_trained(generator):
    A, b = system(generator, 40, 24)
    model = randomised(LearnedMultigrid(2, first=0), generator, 0.3)
    M = model.setup(A)
    with torch.no_grad():
        exact = model.layer(A.stencil_diagonal, A.coupling, b[:, None])
    found = M(b[:, None])
    assert (found - exact).norm() < 2e-3 * exact.norm()  # single precision, entries over three decades
    assert M.dtype == torch.float32 and cycle(M.levels, M.coarsest, b[:, None].float()).dtype == torch.float32


def test_training_mends_bad_weights():
    generator = torch.Generator().manual_seed(0)
    family = families.piecewise(24, 24, contrast=(1e3, 1e3), batch=2)
    model = randomised(LearnedMultigrid(2, first=0, degree=1), generator)
    held_out = [family(generator).to(torch.float64) for _ in range(8)]

    def mean():
        source = torch.Generator().manual_seed(5)
        return sum(float(model.loss(A, source).detach()) for A in held_out) / len(held_out)

    before = mean()
    train(family, model, steps=60, learning_rate=1e-2, progress=False)
    assert mean() < before - 0.1


def test_it_is_what_is_trained_where_nothing_is_said():
    model = train(families.lognormal(12, 12, 12, batch=1), steps=1, progress=False)
    assert isinstance(model, LearnedMultigrid) and model.d == 3


def test_what_does_not_fit_is_named():
    model = LearnedMultigrid(2)
    with pytest.raises(InputError, match="grid of 2 axes"):
        model.setup(Diffusion(torch.ones(9).double(), grid=1.0))
    with pytest.raises(InputError, match="positive definite"):
        model.setup(Diffusion(torch.ones(16, 16).double(), grid=1.0, boundary="neumann"))
