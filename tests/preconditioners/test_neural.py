"""Networks as preconditioners: the coarse form is linear and positive definite, both forms learn."""

from __future__ import annotations

import math

import pytest
import torch

from sciops.data import Grid
from sciops.errors import InputError, ModelError
from sciops.operators import FNO
from sciops.preconditioners import NeuralPreconditioner, families, load, train
from sciops.preconditioners.neural import CoarseSpace, _dense, _factored, _stencil
from sciops.solvers import LinearProblem, solve
from sciops.solvers.linear import Diffusion, Sparse, cg, fcg

SPACES = [(37,), (24, 20), (9, 14), (7, 8, 9)]


def convolution(d, channels_in, channels_out, seed=0):
    """A small network of local weights."""
    kind = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)[d - 1]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Sequential(
            kind(channels_in, 8, 3, padding=1), torch.nn.GELU(), kind(8, channels_out, 3, padding=1)
        )


def neural(d, form="coarse", **options):
    channels = 2 * d + (1 if form == "coarse" else 2)
    return NeuralPreconditioner(convolution(d, channels, 2), form=form, **options)


def operators(space, generator, batch=2, contrast=(2.0, 100.0)):
    """Media of a condition that single precision, in which networks answer, can bear."""
    return families.mixed(*space, batch=batch, contrast=contrast)(generator).to(torch.float64)


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("block", [2, 3, 4])
def test_the_coarse_matrix_is_that_of_galerkin(space, block, generator):
    A = _stencil(operators(space, generator))
    functions = torch.randn(2, 2, *space, generator=generator)
    V = CoarseSpace(functions, block)
    rows, columns, values = V.matrix(A)
    n = 2 * int(torch.Size(V.shape).numel())
    found = torch.zeros(2, n, n).index_put((torch.arange(2)[:, None], rows[None], columns[None]), values)
    unit = torch.eye(n).view(1, n, *V.shape, 2).movedim(-1, 2).expand(2, -1, *[-1] * (len(space) + 1))
    whole = V.prolong(unit)
    expected = torch.einsum("bi...n,bj...n->bij", whole.flatten(2), A.apply(whole).flatten(2))
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    r = torch.randn(2, 3, *space, generator=generator)
    torch.testing.assert_close(
        torch.einsum("bin,bjn->bij", whole.flatten(2), r.flatten(2)),
        V.restrict(r).movedim(2, -1).flatten(2).mT,
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_the_coarse_form_is_symmetric_positive_definite_for_any_weights(space, generator):
    A = operators(space, generator, batch=1, contrast=(2.0, 20.0))
    model = neural(len(space), block=3, smoothing=2)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(3 * torch.randn(p.shape, generator=generator))
    n = A.unknowns
    M = model.setup(A)(torch.eye(n, dtype=torch.float64).view(1, n, *space)).reshape(n, n)
    root = torch.from_numpy(A.to_scipy().toarray()).diagonal().sqrt()
    scaled = M * root * root[:, None]  # of order one whatever the contrast is
    assert (scaled - scaled.T).abs().max() <= 1e-4 * scaled.abs().max()
    assert torch.linalg.eigvalsh((scaled + scaled.T) / 2).min() > 0.01


def test_dense_and_sparse_factors_give_the_same(generator):
    A = _stencil(operators((24, 20), generator))
    V = CoarseSpace(torch.randn(2, 3, 24, 20, generator=generator), 4)
    r = torch.randn(2, 2, 24, 20, generator=generator)
    first, second = (make(V, V.matrix(A))(r) for make in (_dense, _factored))
    assert (first - second).norm() <= 1e-4 * first.norm()


@pytest.mark.parametrize("form", ["coarse", "direction"])
@pytest.mark.parametrize("space", [(37,), (24, 20), (7, 8, 9)], ids=str)
def test_batches_and_scales_do_not_matter(form, space, generator):
    A = operators(space, generator, contrast=(2.0, 20.0))
    model = neural(len(space), form, block=4)
    r = torch.randn(2, 3, *space, generator=generator, dtype=torch.float64)
    both = model.setup(A)(r)
    for i, single in enumerate(A.singles()):
        for j in range(3):
            alone = model.setup(single)(r[i : i + 1, j : j + 1])
            assert (alone[0, 0] - both[i, j]).norm() <= 1e-2 * both[i, j].norm()  # single precision
    scaled = model.setup(Diffusion(1e6 * A.permeability, A.grid))(1e-9 * r)
    assert (1e15 * scaled - both).norm() <= 1e-2 * both.norm()
    for scale in (1e-30, 1e30):
        assert (model.setup(A)(scale * r) / scale - both).norm() <= 1e-2 * both.norm()
    assert model.setup(A)(torch.zeros_like(r)).abs().max() == 0
    assert model.setup(A)(math.nan * r).isnan().all()


@pytest.mark.parametrize(("form", "method"), [("coarse", cg), ("direction", fcg)])
def test_both_forms_are_taken_by_their_method(form, method, generator):
    A, model = operators((40, 36), generator), neural(2, form)
    b = torch.randn(2, 40, 36, generator=generator, dtype=torch.float64)
    direct = method(A, b, M=model)
    found = solve(LinearProblem(A, b), preconditioner=model)
    assert found.method == method.__name__ and found.message.endswith(f"made for {method.__name__}")
    assert torch.equal(found.iterations, direct.iterations)
    if form == "coarse":
        assert direct.iterations.max() < cg(A, b, M="jacobi").iterations.max() / 2
    else:
        with pytest.raises(InputError, match="NeuralPreconditioner is made for flexible methods: use fcg"):
            cg(A, b, M=model)
        with pytest.raises(InputError, match="not symmetric, which cg needs; use fcg"):
            cg(A, b, M=model.setup(A))


@pytest.mark.parametrize(("form", "method"), [("coarse", cg), ("direction", fcg)])
def test_solves_are_differentiable(form, method, generator):
    A = families.lognormal(20, 24, batch=1, contrast=(10.0, 10.0))(generator).to(torch.float64)
    b, g = torch.randn(2, 20, 24, generator=generator, dtype=torch.float64)
    b.requires_grad_()
    (method(A, b, M=neural(2, form), rtol=1e-10).value * g).sum().backward()
    expected = cg(A, g, rtol=1e-10).value
    assert (b.grad - expected).norm() <= 1e-6 * expected.norm()


@pytest.mark.parametrize("form", ["coarse", "direction"])
def test_training_makes_the_loss_smaller_on_operators_that_were_not_seen(form):
    family = families.piecewise(24, 24, contrast=(100.0, 1000.0))
    before, after = neural(2, form), neural(2, form)
    train(family, after, steps=60, learning_rate=1e-2, progress=False)

    def held_out(model):
        generator = torch.Generator().manual_seed(1234)
        with torch.no_grad():
            return sum(float(model.loss(family(generator), generator)) for _ in range(12)) / 12

    assert held_out(after) < held_out(before) - 0.1


def test_what_does_not_fit_is_named(generator):
    model = neural(2)
    with pytest.raises(InputError, match="unknown form 'corse'; did you mean 'coarse'"):
        neural(2, "corse")
    with pytest.raises(InputError, match="block = 1 and smoothing = 3"):
        neural(2, block=1)
    k = torch.ones(8, 8, dtype=torch.float64)
    for A, said in (
        (Sparse(torch.eye(4).double()), "needs an operator on a grid"),
        (Diffusion(k, (1.0, 1.0), "neumann"), "needs a positive definite operator"),
        (Diffusion(k, Grid.unit(8, 8, kind="periodic"), "periodic", 1.0), "takes no periodic axes"),
    ):
        with pytest.raises(InputError, match=said):
            model.setup(A)
    A = Diffusion(k, (1.0, 1.0))
    for form in ("coarse", "direction"):
        wrong = NeuralPreconditioner(torch.nn.Conv2d(5 if form == "coarse" else 6, 1, 3), form=form)
        with pytest.raises(InputError, match="the network returned"):
            cg(A, k, M=wrong) if form == "coarse" else fcg(A, k, M=wrong)


def test_a_neural_preconditioner_over_an_operator_of_sciops_is_saved(generator, tmp_path):
    def network(seed):
        return FNO(5, 2, modes=(4, 4), width=6, layers=2, seed=seed)

    model = NeuralPreconditioner(network(0), block=4)
    folder = model.save(tmp_path / "model")
    with pytest.raises(ModelError, match=r"load\(path, network=FNO\(...\)\)"):
        load(folder)
    loaded = load(folder, network=network(1))
    assert (loaded.form, loaded.block, loaded.smoothing, loaded.method) == ("coarse", 4, 3, "cg")
    A = operators((16, 16), generator)
    r = torch.randn(2, 1, 16, 16, generator=generator, dtype=torch.float64)
    assert torch.equal(loaded.setup(A)(r), model.setup(A)(r))
