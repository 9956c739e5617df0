"""What the Fourier neural operator promises beyond the conformance suite."""

from __future__ import annotations

import pytest
import torch

from sciops.data.domains.domain import Grid
from sciops.operators import FNO


def draw(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_it_commutes_with_shifts_of_a_periodic_domain_unless_it_sees_coordinates():
    x = draw(2, 1, 12, 9)
    for coordinates, commutes in ((None, True), (False, True), (True, False)):
        fno = FNO(1, 1, modes=(3, 2), width=6, layers=2, coordinates=coordinates).double()
        assert torch.allclose(fno(x.roll((5, 2), (2, 3))), fno(x).roll((5, 2), (2, 3))) == commutes


def test_coordinates_are_on_by_default_where_the_domain_is_not_periodic():
    grid = Grid.unit(8, 8, kind=("periodic", "closed"))
    x = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    fno = FNO(1, 1, modes=2, width=6, layers=1, grid=grid, padding=0.0).double()
    y = fno(x)
    torch.testing.assert_close(y, y[:, :, :1].expand_as(y))
    assert not torch.allclose(y, y[..., :1].expand_as(y))
    assert fno.lifting.inner.shape[1] == 2
    assert FNO(1, 1, modes=2, grid=grid, coordinates=True).lifting.inner.shape[1] == 4
    assert FNO(1, 1, modes=2, grid=grid, coordinates=False).lifting.inner.shape[1] == 1


def test_only_kinds_of_the_grid_matter_not_its_sizes_extents_or_names():
    x = draw(1, 1, 10, 11)
    grids = Grid.unit(4, 5, kind="closed"), Grid.unit(50, 60, kind="closed", names=("lat", "lon"))
    first, second = (FNO(1, 1, modes=2, width=4, layers=1, grid=grid).double()(x) for grid in grids)
    assert torch.equal(first, second)


def test_parameters_act_on_every_layer_and_are_differentiable():
    fno = FNO(1, 1, modes=(3,), width=6, layers=2, parameters=2).double()
    x, p = draw(3, 1, 16), draw(3, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: fno(x, p), p)
    torch.nn.init.zeros_(fno.lifting.inner)
    (gradient,) = torch.autograd.grad(fno(x, p).sum(), p)
    assert gradient.abs().min() > 0


@pytest.mark.parametrize("sizes", [(4, 4), (5, 3), (2, 2)])
def test_a_grid_coarser_than_the_modes_drops_them(sizes):
    fno = FNO(1, 1, modes=(6, 6), width=4, layers=1)
    y = fno(draw(1, 1, *sizes).float())
    assert y.shape == (1, 1, *sizes) and torch.isfinite(y).all()


def test_derivatives_of_the_result_can_be_trained_on():
    """Second derivatives through the whole operator, as a residual of an equation in the loss needs them."""
    fno = FNO(1, 1, modes=(3,), width=6, layers=2, grid=Grid.unit(12, kind="closed")).double()
    x = draw(1, 1, 12).requires_grad_()
    (slope,) = torch.autograd.grad(fno(x).sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert all(p.grad is not None for p in fno.blocks.parameters())
    tangent = torch.func.jvp(fno, (x.detach(),), (torch.ones_like(x),))[1]
    numeric = (fno(x + 1e-5) - fno(x - 1e-5)) / 2e-5
    torch.testing.assert_close(tangent, numeric, rtol=1e-6, atol=1e-7)


def test_backward_keeps_two_fields_a_layer():
    """Its input and the result of the spectral convolution: nothing hidden, no spectrum of the size of the grid."""
    x = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))

    def kept(layers):
        tensors = {}

        def keep(tensor):
            tensors[tensor.data_ptr()] = tensor.numel() if tensor.numel() >= 16 * 32 * 32 else 0
            return tensor

        fno = FNO(1, 1, modes=(2, 2), width=16, layers=layers)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            fno(x)
        return sum(tensors.values())

    assert kept(5) - kept(4) == 2 * 16 * 32 * 32
