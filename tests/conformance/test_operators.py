"""Every operator, by being listed here, shows that it keeps the promises of `NeuralOperator`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch

from sciops.data.domains.domain import Grid
from sciops.operators import FNO, ConvNeXtUNet, NeuralOperator, registry

KINDS = ("periodic", "closed", "cell", "left")


@dataclass(frozen=True)
class Instance:
    name: str
    operator: str
    grid: Grid
    options: dict

    def make(self, seed=0) -> NeuralOperator:
        return registry[self.operator](2, 3, grid=self.grid, seed=seed, **self.options)


SMALL_FNO = {"width": 6, "layers": 2}
SMALL_UNET = {"width": 4, "levels": 2, "blocks": 1}
INSTANCES = [
    *(Instance(f"fno-1d-{kind}", "fno", Grid.unit(16, kind=kind), {"modes": 3, **SMALL_FNO}) for kind in KINDS),
    Instance("fno-2d", "fno", Grid.unit(12, 10, kind=("periodic", "closed")), {"modes": (3, 2), **SMALL_FNO}),
    Instance("fno-2d-norm", "fno", Grid.unit(12, 10, kind="cell"), {"modes": 2, "norm": "instance", **SMALL_FNO}),
    Instance("fno-2d-parameters", "fno", Grid.unit(12, 10, kind="left"), {"modes": 2, "parameters": 2, **SMALL_FNO}),
    Instance(
        "fno-2d-norm-parameters",
        "fno",
        Grid.unit(12, 10, kind="periodic"),
        {"modes": 2, "norm": "instance", "parameters": 1, "coordinates": True, **SMALL_FNO},
    ),
    Instance("fno-3d", "fno", Grid.unit(6, 7, 8, kind=("periodic", "closed", "cell")), {"modes": 2, **SMALL_FNO}),
    *(Instance(f"unet-1d-{kind}", "unet", Grid.unit(16, kind=kind), SMALL_UNET) for kind in ("periodic", "closed")),
    Instance("unet-2d", "unet", Grid.unit(12, 10, kind=("periodic", "closed")), {"parameters": 1, **SMALL_UNET}),
    Instance("unet-3d", "unet", Grid.unit(6, 7, 8, kind="periodic"), SMALL_UNET),
]
every = pytest.mark.parametrize("instance", INSTANCES, ids=lambda instance: instance.name)
resolution_free = pytest.mark.parametrize(
    "instance",
    [instance for instance in INSTANCES if registry[instance.operator].resolution_free],
    ids=lambda instance: instance.name,
)


def given(instance, sizes=None, batch=2, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    count = instance.options.get("parameters", 0)
    x = torch.randn(batch, 2, *(sizes or instance.grid.shape), dtype=dtype, generator=generator)
    return (x, torch.randn(batch, count, dtype=dtype, generator=generator)) if count else (x,)


def smooth(instance, sizes):
    """The same smooth function on a grid of any sizes."""
    grid = instance.grid.resized(*sizes)
    phase = 2 * torch.pi * grid.coordinates().sum(0)
    x = torch.stack([torch.sin(phase), torch.cos(phase) * torch.exp(torch.sin(phase))])[None]
    count = instance.options.get("parameters", 0)
    return grid, (x, torch.ones(1, count, dtype=x.dtype)) if count else (x,)


def test_every_registered_operator_is_listed():
    assert {instance.operator for instance in INSTANCES} == set(registry)
    assert {FNO, ConvNeXtUNet} == {registry[name] for name in registry}


@every
def test_shapes_on_even_odd_and_tiny_grids(instance):
    model = instance.make()
    for change in (lambda n: n, lambda n: 2 * n, lambda n: 2 * n + 1, lambda n: n // 2, lambda n: 3):
        sizes = tuple(change(n) for n in instance.grid.shape)
        y = model(*given(instance, sizes))
        assert y.shape == (2, 3, *sizes) and torch.isfinite(y).all()


@every
def test_samples_of_a_batch_do_not_see_each_other(instance):
    model = instance.make().double()
    arguments = given(instance, dtype=torch.float64, batch=3)
    alone = torch.cat([model(*(a[i : i + 1] for a in arguments)) for i in range(3)])
    torch.testing.assert_close(model(*arguments), alone, rtol=1e-10, atol=1e-12)


@every
def test_gradcheck_in_float64(instance):
    model = instance.make().double()
    arguments = [a.requires_grad_() for a in given(instance, dtype=torch.float64, batch=1)]
    names = [name for name, _ in model.named_parameters()]

    def function(*tensors):
        weights = dict(zip(names, tensors[len(arguments) :], strict=True))
        return torch.func.functional_call(model, weights, tensors[: len(arguments)])

    tensors = (*arguments, *model.parameters())
    assert torch.autograd.gradcheck(function, tensors, fast_mode=True)


@every
def test_every_weight_and_input_matters(instance):
    model = instance.make()
    arguments = [a.requires_grad_() for a in given(instance)]
    model(*arguments).square().sum().backward()
    for name, tensor in [*model.named_parameters(), *enumerate(arguments)]:
        assert tensor.grad is not None and tensor.grad.abs().max() > 0, name


@every
def test_configuration_round_trip(instance):
    model = instance.make(seed=5)
    written = json.loads(json.dumps(model.configuration()))
    again = type(model).from_configuration(written)
    assert again.configuration() == model.configuration()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@every
def test_weights_are_real_named_and_loadable(instance):
    model, other = instance.make(), instance.make(seed=1)
    state = model.state_dict()
    assert all(isinstance(t, torch.Tensor) and t.is_floating_point() for t in state.values())
    arguments = given(instance)
    assert not torch.equal(model(*arguments), other(*arguments))
    other.load_state_dict(state)
    assert torch.equal(model(*arguments), other(*arguments))


@every
def test_the_seed_decides_and_the_global_random_state_is_left_alone(instance):
    before = torch.get_rng_state()
    first, second, third = instance.make(), instance.make(), instance.make(seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    arguments = given(instance)
    assert torch.equal(first(*arguments), second(*arguments))
    assert not torch.equal(first(*arguments), third(*arguments))
    assert torch.equal(torch.get_rng_state(), before)


@every
def test_scale_of_the_result_at_the_start(instance):
    """Neither exploding nor vanishing before any training."""
    y = instance.make()(*given(instance, batch=8))
    assert 0.05 < y.std() < 20


@every
def test_inference_mode_and_reduced_precision(instance):
    model, arguments = instance.make(), given(instance)
    exact = model(*arguments)
    with torch.inference_mode():
        torch.testing.assert_close(model(*arguments), exact)
    with torch.autocast("cpu", torch.bfloat16):
        y = model(*arguments)
        y.float().square().mean().backward()
    assert (y - exact).norm() < 0.1 * exact.norm()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    low = model.to(torch.bfloat16)(*(a.bfloat16() for a in arguments))
    assert low.dtype == torch.bfloat16 and (low - exact).norm() < 0.2 * exact.norm()


@every
def test_one_graph_without_breaks(instance):
    model, arguments = instance.make(), given(instance)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*arguments), model(*arguments), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fno-1d-closed", "fno-2d-norm-parameters", "fno-3d", "unet-2d"])
def test_compiled_machine_code_agrees(name):
    instance = next(instance for instance in INSTANCES if instance.name == name)
    model, arguments = instance.make(), given(instance)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True)
    torch.testing.assert_close(compiled(*arguments), model(*arguments), rtol=1e-4, atol=1e-5)
    found = torch.autograd.grad(compiled(*arguments).sum(), list(model.parameters()))
    wanted = torch.autograd.grad(model(*arguments).sum(), list(model.parameters()))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * (1 + b.abs().max().item()))


@pytest.mark.slow
@resolution_free
def test_exported_with_free_batch_and_sizes(instance):
    model, arguments = instance.make().eval(), given(instance)
    batch = torch.export.Dim("batch", min=1, max=64)
    axes = {i + 2: torch.export.Dim(f"n{i}", min=2, max=512) for i in range(model.ndim)}
    shapes = ({0: batch, **axes}, *({0: batch} for _ in arguments[1:]))
    program = torch.export.export(model, arguments, dynamic_shapes=shapes).module()
    for sizes in [(5,) * model.ndim, tuple(2 * n + 1 for n in instance.grid.shape)]:
        fresh = given(instance, sizes, batch=5, seed=1)
        torch.testing.assert_close(program(*fresh), model(*fresh), rtol=1e-4, atol=1e-5)


@resolution_free
def test_result_converges_as_the_grid_is_refined(instance):
    """Distances to the result on the finest of grids that nest by thirds fall with the order of the quadrature, two.

    Where every axis is periodic and there is no quadrature error, they are those of the spectrum: beyond any order.
    """
    model = instance.make().double()
    levels = {1: (10, 30, 90, 270), 2: (8, 24, 72, 216), 3: (6, 18, 54)}[model.ndim]
    results = []
    for n in levels:
        grid, arguments = smooth(instance, [n + (kind == "closed") for kind in instance.grid.kinds])
        results.append((grid, model(*arguments).detach()))
    finest = results.pop()[1]
    errors = []
    for (grid, y), n in zip(results, levels, strict=False):
        step = levels[-1] // n
        at = finest
        for dim, (size, kind) in enumerate(zip(grid.shape, grid.kinds, strict=True), start=2):
            first = step // 2 if kind == "cell" else 0
            at = at.index_select(dim, first + step * torch.arange(size))
        errors.append(((y - at).norm() / at.norm()).item())
    orders = [math.log(max(a, 1e-13) / max(b, 1e-13), 3) for a, b in pairwise(errors)]
    if all(kind == "periodic" for kind in instance.grid.kinds):
        assert errors[-1] < 1e-7, errors
    else:
        assert errors[-1] < 0.02, errors
        assert all(1.6 < order < 2.6 for order in orders[-1:]), (errors, orders)
