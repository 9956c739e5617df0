"""The perceptron in one step against the plain chain of operators."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import gelu, linear

from sciops.errors import InputError
from sciops.kernels import pointwise
from sciops.kernels.pointwise import perceptron

CHAINS = [
    (False, False, ()),
    (True, True, ("skip", "gate")),
    (True, False, ("gate",)),
    (False, True, ("skip",)),
    (False, False, ("skip", "gate")),
]
chains = pytest.mark.parametrize(("activate_in", "activate_out", "ways"), CHAINS)


def draw(generator, *shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=generator)


def arguments(generator, points, sizes, ways, dtype=torch.float64):
    inside, hidden, outside = sizes
    shapes = {
        "x": (*points, inside),
        "inner": (hidden, inside),
        "inner_bias": (hidden,),
        "outer": (outside, hidden),
        "outer_bias": (outside,),
    }
    if ways:
        shapes["residual"] = (*points, outside)
    shapes |= {name: {"skip": (inside, outside), "gate": (outside,)}[name] for name in ways}
    return {name: draw(generator, *shape, dtype=dtype).requires_grad_() for name, shape in shapes.items()}


def plain(x, inner, inner_bias, outer, outer_bias, residual=0.0, skip=None, gate=0.0, *, activate_in, activate_out):
    h = x if skip is None else x + linear(residual, skip)
    y = linear(gelu(linear(gelu(h) if activate_in else h, inner, inner_bias)), outer, outer_bias) + gate * residual
    return gelu(y) if activate_out else y


@chains
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_value_and_gradients_over_several_blocks(
    activate_in, activate_out, ways, dtype, tolerance, generator, monkeypatch
):
    monkeypatch.setitem(pointwise._BLOCK, "cpu", 1000)
    ends = {"activate_in": activate_in, "activate_out": activate_out}
    given = arguments(generator, (11, 37), (8, 16, 8), ways, dtype)
    exact = {name: t.detach().double().requires_grad_() for name, t in given.items()}
    y, expected = perceptron(**given, **ends), plain(**exact, **ends)
    g = draw(generator, *y.shape)
    found = torch.autograd.grad(y, list(given.values()), g.to(dtype))
    wanted = torch.autograd.grad(expected, list(exact.values()), g)
    for a, b in zip((y, *found), (expected, *wanted), strict=True):
        assert (a - b).norm() <= tolerance * b.norm()


@chains
def test_gradcheck(activate_in, activate_out, ways, generator):
    given = arguments(generator, (3,), (2, 3, 2), ways)

    def function(*tensors):
        named = dict(zip(given, tensors, strict=True))
        return perceptron(**named, activate_in=activate_in, activate_out=activate_out)

    assert torch.autograd.gradcheck(function, tuple(given.values()))
    assert torch.autograd.gradgradcheck(function, tuple(given.values()))


@chains
def test_only_the_inputs_are_kept_for_the_backward_pass(activate_in, activate_out, ways, generator):
    given = arguments(generator, (1000,), (8, 32, 8), ways)
    kept = {}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        perceptron(**given, activate_in=activate_in, activate_out=activate_out)
    assert [count for count in kept.values() if count >= 1000] == [8000] * (2 if ways else 1)


def test_frozen_input_and_no_grad(generator):
    ends = {"activate_in": True, "activate_out": True}
    for ways in ((), ("gate",), ("skip",)):
        given = arguments(generator, (5,), (2, 3, 2), ways)
        given["x"].requires_grad_(False)
        perceptron(**given, **ends).sum().backward()
        assert all((t.grad is None) == (name == "x") for name, t in given.items())
        with torch.inference_mode():
            torch.testing.assert_close(perceptron(**given, **ends), plain(**given, **ends))


def test_a_residual_enters_somewhere(generator):
    given = arguments(generator, (5,), (2, 3, 2), ("gate",))
    for lacking in ("gate", "residual"):
        with pytest.raises(InputError, match="a residual needs a skip matrix or a gate"):
            perceptron(**{name: t for name, t in given.items() if name != lacking})
