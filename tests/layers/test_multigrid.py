"""The learned cycle is symmetric positive definite for all weights; the free one is a linear map of functions."""

from __future__ import annotations

import pytest
import torch

from sciops.errors import InputError
from sciops.kernels.blackbox import blackbox_prolong
from sciops.kernels.stencil import diffusion_apply
from sciops.layers import LinearVCycle, SPDVCycle
from sciops.solvers.linear import Diffusion

SIZES = {1: (130,), 2: (13, 14), 3: (6, 5, 7)}


def operator(d, generator, contrast=2.0):
    k = (contrast * torch.randn(2, *SIZES[d], generator=generator, dtype=torch.float64)).exp()
    A = Diffusion(k, grid=[1.0] * d)
    return A.stencil_diagonal, A.coupling


def randomised(layer, generator, size):
    for p in layer.parameters():
        p.data = size * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return layer


def dense(function, like):
    """The matrix of a linear map of the fields of a batch of operators."""
    n = like[0].numel()
    unit = torch.eye(n, dtype=like.dtype).view(1, n, *like.shape[1:]).expand(len(like), *(n, *like.shape[1:]))
    return function(unit.contiguous()).flatten(2)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("size", [0.0, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_the_cycle_is_symmetric_positive_definite_for_all_weights(d, size, degree, generator):
    diagonal, coupling = operator(d, generator)
    layer = randomised(SPDVCycle(d, degree=degree, first=0), generator, size)
    with torch.no_grad():
        M = dense(lambda b: layer(diagonal, coupling, b), diagonal)
        A = dense(lambda u: diffusion_apply(diagonal, coupling, u), diagonal)
    assert (M - M.mT).norm() < 1e-12 * M.norm()
    root = torch.linalg.cholesky(A)
    values = torch.linalg.eigvalsh(root.mT @ M @ root)
    # no more than one: the cycle takes something off every error in the norm of A
    assert bool((values > 0).all()) and bool((values < 1 + 1e-6).all())


def test_weights_change_the_cycle_and_have_derivatives(generator):
    diagonal, coupling = operator(2, generator, 1.0)
    b = torch.randn(2, 3, 13, 14, generator=generator, dtype=torch.float64)
    plain = SPDVCycle(2, first=0)(diagonal, coupling, b)
    # small, for beyond the bounds of what is learned derivatives vanish
    layer = randomised(SPDVCycle(2, first=0), generator, 0.2)
    y = layer(diagonal, coupling, b)
    assert (y - plain).norm() > 1e-4 * plain.norm()
    y.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in layer.parameters())
    assert all(bool((p.grad != 0).any()) for p in layer.parameters())


def test_constants_go_through_prolongation_as_before(generator):
    diagonal, coupling = operator(2, generator)
    layer = randomised(SPDVCycle(2, first=0), generator, 0.2)
    plain, learned = SPDVCycle(2).levels(diagonal, coupling)[0][0], layer.levels(diagonal, coupling)[0][0]
    one = torch.ones_like(plain.weights[:, :1])
    assert not torch.allclose(plain.weights, learned.weights)
    torch.testing.assert_close(
        blackbox_prolong(one, plain.weights, (13, 14)), blackbox_prolong(one, learned.weights, (13, 14))
    )


def test_neither_units_nor_mirrors_change_what_is_learned(generator):
    k = torch.randn(1, 17, 17, generator=generator, dtype=torch.float64).exp()
    b = torch.randn(1, 1, 17, 17, generator=generator, dtype=torch.float64)
    layer = randomised(SPDVCycle(2, first=0).double(), generator, 0.5)

    def answer(k, b):
        A = Diffusion(k, grid=(1.0, 1.0))
        return layer(A.stencil_diagonal, A.coupling, b)

    y = answer(k, b)
    torch.testing.assert_close(answer(1e6 * k, b), 1e-6 * y)
    torch.testing.assert_close(answer(k.flip(1), b.flip(2)).flip(2), y)
    torch.testing.assert_close(answer(k.flip(2), b.flip(3)).flip(3), y)


@pytest.mark.parametrize(
    ("kinds", "space"), [(["closed"], (33,)), (["periodic", "cell"], (18, 7)), (["cell"] * 3, (5, 6, 7))]
)
def test_the_free_cycle_is_linear_and_all_its_weights_count(kinds, space, generator):
    layer = LinearVCycle(3, 5, kinds, levels=3, smoothings=(2, 1)).double()
    f, g = torch.randn(2, 2, 3, *space, generator=generator, dtype=torch.float64)
    y = layer(f)
    assert y.shape == (2, 5, *space)
    torch.testing.assert_close(layer(f - 2 * g), y - 2 * layer(g))
    y.square().sum().backward()
    assert all(bool((p.grad != 0).any()) for p in layer.parameters())


def test_the_free_cycle_moves_with_a_periodic_field(generator):
    layer = LinearVCycle(2, 2, ["periodic", "periodic"], levels=3)
    f = torch.randn(1, 2, 16, 24, generator=generator)
    torch.testing.assert_close(layer(f.roll((4, 8), (2, 3))), layer(f).roll((4, 8), (2, 3)))


def test_a_coarse_correction_reaches_across_the_domain(generator):
    """A point on one end is felt at the other: by convolutions of three cells alone it would not be."""
    f = torch.zeros(1, 1, 32)
    f[..., 0] = 1
    assert bool(LinearVCycle(1, 1, ["closed"], levels=5)(f)[..., -1] != 0)
    assert bool(LinearVCycle(1, 1, ["closed"], levels=1)(f)[..., -1] == 0)


def test_what_does_not_fit_is_named():
    with pytest.raises(InputError, match="a grid of 4 axes"):
        SPDVCycle(4)
    with pytest.raises(InputError, match="unknown part 'conductances'"):
        SPDVCycle(2, parts=["conductances"])
    with pytest.raises(InputError, match="lower"):
        SPDVCycle(2, lower=1.0)
    with pytest.raises(InputError, match="2 axes was given an operator on a grid of 1"):
        SPDVCycle(2)(torch.ones(1, 9), torch.ones(1, 1, 9), torch.ones(1, 1, 9))
    with pytest.raises(InputError, match="at least 1"):
        LinearVCycle(1, 1, ["closed"], levels=0)
    with pytest.raises(InputError, match=r"\(batch, 2, 1 space axes\)"):
        LinearVCycle(2, 1, ["closed"])(torch.ones(1, 3, 8))
