"""Deep conjugate directions: the data, the network, and that flexible conjugate gradients converge whatever it says."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch

from sciops.data import Grid
from sciops.errors import InputError
from sciops.preconditioners import DCDM, registry, ritz_vectors
from sciops.preconditioners.base import options_of
from sciops.solvers.linear import Diffusion, Sparse, cg, fcg

SMALL = {"channels": 4, "depths": (1, 2, 1), "ritz": 30, "samples": 4}


def poisson(*sizes, **options):
    return Diffusion(torch.ones(*sizes, dtype=torch.float64), [1 / n for n in sizes], **options)


def disc(n, obstacle):
    x = (torch.arange(n) + 0.5) / n
    outside = (x[:, None] - 0.4).square() + (x - 0.55).square() > 0.04
    return poisson(n, n, mask=outside, obstacle=obstacle)


def noise(A, generator, rhs=2):
    b = torch.randn(rhs, *A.space, generator=generator, dtype=torch.float64)
    return A.right_hand_side(b) if isinstance(A, Diffusion) else b


def test_ritz_vectors_are_eigenvectors_once_the_space_is_exhausted():
    A = poisson(5, 6)
    found = ritz_vectors(A, 100)
    exact = torch.linalg.eigvalsh(torch.from_numpy(A.to_scipy().toarray()))
    assert len(found.values[0]) == 30
    assert (found.values[0] - exact).abs().max() < 1e-9 * exact[-1]
    fields = found.vectors.double().view(1, 30, 5, 6)
    assert (A @ fields - found.values[..., None, None] * fields).norm(dim=(2, 3)).max() < 1e-6 * exact[-1]


def test_ritz_vectors_stay_orthogonal_long_after_the_first_have_converged():
    A = Diffusion(torch.linspace(0, 12, 400, dtype=torch.float64).exp().view(20, 20), 1.0)
    found = ritz_vectors(A, 200)
    gram = found.vectors[0] @ found.vectors[0].mT
    assert (gram - torch.eye(len(gram))).abs().max() < 1e-5
    exact = torch.linalg.eigvalsh(torch.from_numpy(A.to_scipy().toarray()))
    assert abs(found.values[0, -1] / exact[-1] - 1) < 1e-12
    assert (found.values[0].diff() > 0).all()  # no ghosts: a value that is simple is found once


def test_ritz_vectors_of_a_batch_are_those_of_each(generator):
    k = torch.rand(3, 6, 5, generator=generator, dtype=torch.float64) + 0.5
    together = ritz_vectors(Diffusion(k, (1.0, 1.0)), 8)
    exact = [
        torch.linalg.eigvalsh(torch.from_numpy(A.to_scipy().toarray())) for A in Diffusion(k, (1.0, 1.0)).singles()
    ]
    for values, spectrum in zip(together.values, exact, strict=True):
        assert len(values) == 8
        assert spectrum[0] < values[0] and values[-1] < spectrum[-1] * (1 + 1e-12)
        assert values[-1] > 0.9 * spectrum[-1]


def test_ritz_vectors_end_where_the_space_does_and_leave_null_spaces_and_obstacles_out():
    closed = poisson(6, 6, boundary="neumann")
    found = ritz_vectors(closed, 60)
    exact = torch.linalg.eigvalsh(torch.from_numpy(closed.to_scipy().toarray()))
    different = exact[1:][exact[1:].diff(prepend=exact[:1]) > 1e-6]  # and not the zero
    assert found.values.shape == (1, len(different)) and len(different) < 20
    assert torch.allclose(found.values[0], different, rtol=1e-9)
    assert found.vectors.sum(2).abs().max() < 1e-5
    A = disc(12, "dirichlet")
    assert ritz_vectors(A, 40).vectors[0][:, ~A.mask.flatten()].abs().max() < 1e-12


def test_training_data_have_norm_one_and_lie_low_in_the_spectrum(generator):
    A = poisson(12, 12)
    data = ritz_vectors(A, 40)
    b = data.draw(2000, generator)
    assert b.shape == (1, 2000, 12, 12) and b.dtype == torch.float32
    assert torch.allclose(b.flatten(2).norm(dim=2), torch.ones(1, 2000), atol=1e-5)
    shares = (b.flatten(2) @ data.vectors.mT).square().mean((0, 1))
    assert 65 < shares[:20].mean() / shares[20:].mean() < 81  # 81 before each is scaled to norm one


def test_training_data_are_made_once_and_go_with_their_operator():
    A = poisson(8, 8)
    first = ritz_vectors(A, 10)
    assert ritz_vectors(A, 10) is first
    assert ritz_vectors(A, 11) is not first
    assert ritz_vectors(A, 10, seed=1) is not first
    gone = weakref.ref(first)
    del A, first
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("levels", ["finest", "all"])
@pytest.mark.parametrize("sizes", [(40,), (16, 17), (8, 9, 10)], ids=str)
def test_it_converges_before_any_training(levels, sizes, generator):
    A = poisson(*sizes)
    seed = int(torch.randint(1 << 30, (), generator=generator))
    b = noise(A, generator)
    found = fcg(A, b, M=DCDM(len(sizes), levels=levels, seed=seed, **SMALL).setup(A), keep=2)
    assert found.value.shape == b.shape
    assert ((A @ found.value - b).flatten(1).norm(dim=1) <= 1.001e-6 * b.flatten(1).norm(dim=1)).all()


@pytest.mark.parametrize("levels", ["finest", "all"])
def test_the_energy_of_the_error_falls_whatever_the_weights_are(levels, generator):
    A, model = poisson(16, 16), DCDM(levels=levels, **SMALL)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    b = noise(A, generator)
    exact, energies = cg(A, b, rtol=1e-12).value, []
    for steps in range(1, 8):
        gap = fcg(A, b, M=model.setup(A), keep=2, maxiter=steps, raise_on_failure=False).value - exact
        energies.append((gap * (A @ gap)).sum((1, 2)))
    assert (torch.stack(energies).diff(dim=0) <= 1e-12 * energies[0]).all()
    assert (energies[-1] < energies[0]).all()


@pytest.mark.parametrize("levels", ["finest", "all"])
def test_it_scales_with_the_residual_and_with_the_units_of_the_operator(levels, generator):
    model = DCDM(levels=levels, **SMALL)
    A = poisson(16, 16)
    r = noise(A, generator)[None]
    M = model.setup(A)
    direction = M(r)
    near = {"rtol": 1e-3, "atol": 1e-4 * float(direction.abs().max())}
    assert direction.shape == r.shape and direction.dtype == torch.float64
    for factor in (1e-30, 1e30):
        assert torch.allclose(M(factor * r) / factor, direction, **near)
    other = Diffusion(torch.full((16, 16), 1e8, dtype=torch.float64), 1 / 16)
    assert torch.allclose(model.setup(other)(r) * 1e8, direction, **near)
    assert not M(torch.zeros_like(r)).any()
    assert torch.allclose(M(r[:, 1:]), direction[:, 1:], **near)  # each right-hand side by itself


def test_it_is_not_linear(generator):
    """The network sees a direction, not a vector: what it makes of a sum is not the sum."""
    model = DCDM(**SMALL)
    M = model.setup(poisson(16, 16))
    a, b = torch.randn(2, 1, 1, 16, 16, generator=generator, dtype=torch.float64)
    assert M.symmetric is False
    assert (M(a + b) - M(a) - M(b)).norm() > 1e-3 * M(a + b).norm()


@pytest.mark.parametrize("levels", ["finest", "all"])
@pytest.mark.parametrize("obstacle", ["neumann", "dirichlet"])
def test_obstacles_are_out_of_sight_and_solved_for_all_the_same(levels, obstacle, generator):
    A = disc(16, obstacle)
    model = DCDM(levels=levels, **SMALL)
    M = model.setup(A)
    r = torch.randn(1, 1, 16, 16, generator=generator, dtype=torch.float64)
    louder = torch.where(A.mask, r, 100 * r)
    near = M(r)[..., A.mask], M(louder)[..., A.mask]
    assert torch.allclose(*near, rtol=1e-3, atol=1e-4 * float(near[0].abs().max()))
    found = fcg(A, r[0], M=M, keep=2)  # a right-hand side that is not zero in the obstacle
    assert torch.allclose(found.value[:, ~A.mask], r[0][:, ~A.mask], atol=1e-4)


@pytest.mark.parametrize("levels", ["finest", "all"])
def test_gradients_reach_every_weight_and_steps_lower_the_loss(levels):
    A = poisson(16, 16)
    model = DCDM(levels=levels, **SMALL)
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        loss = model.loss(A, generator)
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        if not losses:
            assert all(p.grad.abs().max() > 0 for p in model.parameters() if p.ndim > 1)
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] <= 1 + 1e-6  # a step along nothing leaves 1
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_the_loss_is_the_residual_after_one_step_of_the_method():
    """Against one iteration of fcg itself, by the solver."""
    A = poisson(16, 16)
    model = DCDM(**SMALL)
    loss = model.loss(A, torch.Generator().manual_seed(3)).item()
    b = ritz_vectors(A, SMALL["ritz"]).draw(SMALL["samples"], torch.Generator().manual_seed(3))[0].double()
    once = fcg(A, b, M=model.setup(A), keep=2, maxiter=1, raise_on_failure=False)
    assert loss == pytest.approx(float(once.residuals.square().mean()), rel=1e-3)


def test_one_set_of_weights_serves_both_kinds_and_any_options_make_it_again(generator):
    model = DCDM(2, seed=5, **SMALL)
    again = DCDM(**options_of(model))
    A = poisson(16, 16)
    r = noise(A, generator)[None]
    assert torch.equal(model.setup(A)(r), again.setup(A)(r))
    levels = DCDM(2, levels="all", **SMALL)
    levels.load_state_dict(model.state_dict())
    assert (
        fcg(A, r[0], M=levels.setup(A), keep=2).iterations.max()
        < fcg(A, r[0], M=model.setup(A), keep=2).iterations.max()
    )
    assert torch.equal(copy.deepcopy(model).setup(A)(r), model.setup(A)(r))
    assert registry["dcdm"] is DCDM and model.method == "fcg"


def test_on_all_levels_iterations_do_not_grow_with_the_grid(generator):
    """Not trained at all: the hierarchy alone carries it."""
    model = DCDM(levels="all", **SMALL)
    counts = []
    for n in (32, 64, 128):
        A = poisson(n, n)
        counts.append(int(fcg(A, noise(A, generator, 1), M=model.setup(A), keep=2).iterations.max()))
    assert max(counts) <= min(counts) + 2


def test_a_singular_operator_is_solved(generator):
    A = Diffusion(torch.ones(16, 16, dtype=torch.float64), Grid.unit(16, 16, kind="periodic"))
    b = noise(A, generator)
    b -= b.mean((1, 2), keepdim=True)
    for levels in ("finest", "all"):
        assert fcg(A, b, M=DCDM(levels=levels, **SMALL).setup(A), keep=2).converged


@pytest.mark.parametrize("levels", ["finest", "all"])
def test_solves_are_differentiable(levels, generator):
    A = poisson(16, 16)
    M = DCDM(levels=levels, **SMALL).setup(A)
    b = noise(A, generator, 1)[0].requires_grad_()
    fcg(A, b, M=M, keep=2, rtol=1e-9).value.sum().backward()
    expected = cg(A, torch.ones_like(b), rtol=1e-9).value
    torch.testing.assert_close(b.grad, expected, rtol=1e-6, atol=1e-8)


def test_what_does_not_fit_is_named():
    for options, said in (
        ({"dimension": 4}, "dimension is 4"),
        ({"levels": "al"}, "did you mean 'all'"),
        ({"depths": (1, 2)}, "three whole numbers"),
        ({"depths": (1, -2, 1)}, "three whole numbers"),
        ({"channels": 0}, "channels is 0"),
        ({"samples": 1.5}, "samples is 1.5"),
        ({"ritz": True}, "ritz is True"),
    ):
        with pytest.raises(InputError, match=said):
            DCDM(**options)
    model = DCDM(**SMALL)
    upper = Sparse(torch.tensor([[1.0, 2.0], [0.0, 1.0]]).double())
    with pytest.raises(InputError, match="symmetric operators on 2 axes"):
        model.setup(poisson(8))
    with pytest.raises(InputError, match="symmetric operators on 1 axes"):
        DCDM(1, **SMALL).setup(upper)
    with pytest.raises(InputError, match="symmetric operator"):
        ritz_vectors(upper, 2)
    with pytest.raises(InputError, match="steps is 0"):
        ritz_vectors(poisson(8), 0)
    with pytest.raises(InputError, match="multigrid needs an operator on a grid"):
        DCDM(1, levels="all", **SMALL).setup(Sparse(torch.eye(4).double()))
