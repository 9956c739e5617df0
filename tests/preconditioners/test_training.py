"""Training of preconditioners, families of operators, and learned preconditioners as M of the methods."""

from __future__ import annotations

import math

import pytest
import torch

import sciops
from sciops.data import Grid
from sciops.data.random import LevelSet
from sciops.errors import InputError, TrainingError
from sciops.preconditioners import DiffusionFamily, LearnedPreconditioner, families, train
from sciops.solvers import LinearProblem, solve
from sciops.solvers.linear import Diffusion, Sparse, cg, fcg, fgmres, gmres

KINDS = ("lognormal", "piecewise", "inclusions", "layered")


class Step(LearnedPreconditioner):
    """One step along the residual of all systems; what is learned is its length."""

    def __init__(self, method: str = "cg", start: float = 0.1) -> None:
        super().__init__()
        self.method, self.start = method, start
        self.length = torch.nn.Parameter(torch.tensor(start))

    def setup(self, A):
        length = self.length.detach().to(A.dtype)
        return lambda r: length * r / A.diagonal()[:, None]

    def loss(self, A, generator):
        x = torch.randn(A.batch, 1, *A.space, generator=generator, dtype=A.dtype)
        r = A.apply(x)
        return (x - self.length * r / A.diagonal()[:, None]).square().mean()


def constant(generator):
    """The operator whose best length for white noise is known."""
    return Diffusion(torch.ones(2, 8, 8), grid=(1 / 8, 1 / 8))


def best_length():
    """min over s of E |x - s D^-1 A x|^2 is trace(B) / trace(B' B), B = D^-1 A."""
    A = constant(None).singles()[0].to_scipy().toarray()
    B = A / A.diagonal()[:, None]
    return B.trace() / (B * B).sum()


def test_training_finds_what_is_best():
    model = train(constant, Step(), steps=400, learning_rate=0.02, progress=False)
    assert math.isclose(model.length.item(), best_length(), rel_tol=0.02)
    record = model.record
    assert (record.steps, record.seed, len(record.losses), record.family) == (400, 0, 400, "constant")
    assert 0 < record.best_step <= 400 and record.seconds > 0
    assert sum(record.losses[-50:]) < sum(record.losses[:50])
    assert not model.training


def test_the_same_seed_gives_the_same_weights_and_another_one_others():
    def trained(seed):
        return train(families.lognormal(8, 8), Step(), steps=30, seed=seed, progress=False)

    state = torch.get_rng_state()
    first, again, other = trained(3), trained(3), trained(4)
    assert first.record.losses == again.record.losses and torch.equal(first.length, again.length)
    assert first.record.losses != other.record.losses
    assert torch.equal(state, torch.get_rng_state())


def test_the_best_weights_are_kept():
    class Spoiled(Step):
        """The loss becomes worse and worse after 40 steps, whatever the weights are."""

        count = 0

        def loss(self, A, generator):
            self.count += 1
            return self.length.square() + max(0, self.count - 40)

    model = train(constant, Spoiled(), steps=80, learning_rate=1e-3, progress=False)
    # the running mean follows with some delay
    assert 40 <= model.record.best_step <= 45
    assert model.length.item() > 0.1 - 45 * 1e-3


def test_training_ends_with_the_minutes_and_sets_threads_back():
    before, seen = torch.get_num_threads(), []

    def family(generator):
        seen.append(torch.get_num_threads())
        return constant(generator)

    model = train(family, Step(), minutes=0.01, threads=1, progress=False)
    assert 0.6 <= model.record.seconds < 5 and model.record.steps > 3
    assert set(seen) == {1} and torch.get_num_threads() == before


def test_a_loss_that_is_not_finite_is_named():
    class Broken(Step):
        def loss(self, A, generator):
            return self.length * math.nan

    with pytest.raises(TrainingError, match=r"the loss is nan .* at step 0"):
        train(constant, Broken(), steps=2, progress=False)


def test_a_training_that_fails_leaves_the_best_weights():
    class Later(Step):
        """Each step makes the loss worse, until it is no number at all."""

        count = 0

        def loss(self, A, generator):
            self.count += 1
            return math.nan * self.length if self.count == 31 else self.length.square() + max(0, self.count - 25)

    model = Later()
    with pytest.raises(TrainingError, match="at step 30"):
        train(constant, model, steps=80, learning_rate=1e-3, progress=False)
    assert (model.record.steps, len(model.record.losses)) == (30, 30)
    assert model.record.best_step < 30 and not model.training
    assert math.isfinite(model.length.item()) and model.length.item() > 0.1 - 27e-3


def test_bad_arguments_of_training_are_named():
    for options, said in (
        ({"minutes": 0.0}, "minutes = 0.0"),
        ({"steps": 0}, "steps = 0"),
        ({"learning_rate": math.nan}, "learning_rate = nan"),
        ({"minutes": "x"}, "minutes = 'x', expected a positive number"),
        ({"threads": 0}, "threads = 0, expected a whole number of at least 1"),
    ):
        with pytest.raises(InputError, match=said):
            train(constant, Step(), progress=False, **options)
    frozen = Step().requires_grad_(False)
    with pytest.raises(InputError, match="Step has no weights to train"):
        train(constant, frozen, progress=False)


def test_an_interrupted_training_leaves_the_best_weights():
    def family(generator):
        family.count += 1
        if family.count == 6:
            raise KeyboardInterrupt
        return constant(generator)

    family.count, model = 0, Step()
    with pytest.raises(KeyboardInterrupt, match="stopped at step 5"):
        train(family, model, steps=100, progress=False)
    assert model.record.steps == 5 and model.length.item() > 0.1


def test_the_progress_line_is_shown(capsys):
    train(constant, Step(), steps=5)
    assert "5/5" in capsys.readouterr().out


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("space", [(40,), (24, 20), (10, 9, 8)], ids=str)
def test_families_have_the_contrast_that_was_asked_for(name, space, generator):
    family = getattr(families, name)(*space, contrast=(50.0, 200.0), batch=3)
    k = family.draw(20, generator).flatten(1)
    contrast = k.amax(1) / k.amin(1)
    if name == "inclusions":  # one that no cell sees leaves nothing but the medium around it
        contrast = contrast[contrast > 1]
        assert len(contrast) >= 5
    assert bool(((contrast > 50 * 0.999) & (contrast < 200 * 1.001)).all())
    assert contrast.max() > 1.2 * contrast.min()
    A = family(generator)
    assert (A.batch, A.space, A.dtype, A.definite) == (3, space, torch.float32, True)


@pytest.mark.parametrize("name", ["lognormal", "inclusions"])
def test_a_family_is_the_same_function_at_every_resolution(name):
    coarse, fine = (
        getattr(families, name)(n, n, length=(0.3, 0.3)).draw(1, torch.Generator().manual_seed(5))[0].log()
        for n in (32, 96)
    )
    at_the_same_places = fine[1::3, 1::3]  # each coarse centre is the middle one of three fine ones
    assert (coarse - at_the_same_places).abs().median() < 0.05 * fine.abs().max()


def test_mixed_has_every_kind():
    generator = torch.Generator().manual_seed(0)
    phases = {len(families.mixed(16, 16).draw(1, generator).unique()) > 10 for _ in range(30)}
    assert phases == {True, False}


def test_a_family_of_random_functions(generator):
    grid = Grid.unit(16, 16, kind="cell")
    discs = LevelSet(grid, count=2, inside=10.0, outside=1.0)
    family = DiffusionFamily([discs, discs], boundary="neumann", dtype=torch.float64)
    A = family(generator)
    assert (A.batch, A.dtype, A.nullspace is not None) == (4, torch.float64, True)
    assert repr(family) == "DiffusionFamily(LevelSet, LevelSet, 16x16, batch=4, neumann)"


def test_bad_families_are_named(generator):
    grid = Grid.unit(16, 16, kind="cell")
    with pytest.raises(InputError, match="values from 0 to 1, expected"):
        DiffusionFamily(LevelSet(grid, count=1))(generator)
    with pytest.raises(InputError, match="grid= where it is no random function"):
        DiffusionFamily(lambda n, generator: torch.ones(n, 4))
    with pytest.raises(InputError, match="one to three integers"):
        families.lognormal(16, 16.0)
    with pytest.raises(InputError, match=r"contrast = \(0.1, 10.0\)"):
        families.piecewise(16, contrast=(0.1, 10.0))
    with pytest.raises(InputError, match=r"length = \(0.2, 0.1\)"):
        families.layered(16, length=(0.2, 0.1))


def test_a_learned_preconditioner_is_taken_as_M_and_brings_its_method(generator):
    A = families.piecewise(16, 16, batch=2)(generator).to(torch.float64)
    b = torch.randn(2, 16, 16, generator=generator, dtype=torch.float64)
    for method, call in (("cg", cg), ("fcg", fcg)):
        model = Step(method)
        direct = call(A, b, M=model)
        found = solve(LinearProblem(A, b), preconditioner=model)
        assert found.method == method
        assert found.message.endswith(f"taken because the preconditioner Step was asked for, and is made for {method}")
        torch.testing.assert_close(found.value, direct.value)
        # the length of a step does not matter to them, but for rounding
        assert (direct.iterations - cg(A, b, M="jacobi").iterations).abs().max() <= 1


def test_methods_that_need_a_fixed_preconditioner_name_fcg(generator):
    A, b = constant(None).to(torch.float64), torch.ones(2, 8, 8).double()
    for call in (cg, gmres):
        with pytest.raises(InputError, match="Step is made for flexible methods: use fcg"):
            call(A, b, M=Step("fcg"))
    assert fgmres(A, b, M=Step("fcg")).converged
    skew = torch.eye(8, dtype=torch.float64).mul(4) + torch.ones(8, 8).double().triu(1)
    with pytest.raises(InputError, match="Step is made for flexible methods: use fgmres"):
        gmres(Sparse(skew), torch.ones(8).double(), M=Step("fcg"))


def test_the_public_names():
    assert sciops.preconditioners.train is train
    assert set(sciops.preconditioners.__all__) >= {"train", "load", "families", "DiffusionFamily", "TrainingRecord"}
