"""The perceptron in one step against the plain chain of operators."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import gelu, linear

from sciops.errors import InputError
from sciops.kernels import products, use
from sciops.kernels.cpu import pointwise
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
    monkeypatch.setattr(pointwise, "_BLOCK", 1000)
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
def test_second_derivatives_in_single_precision(activate_in, activate_out, ways, generator):
    """The quick backward pass runs below a graph that is differentiated again."""
    given = arguments(generator, (300,), (8, 16, 8), ways, torch.float32)
    exact = {name: t.detach().double().requires_grad_() for name, t in given.items()}
    seconds = []
    for function, named in ((perceptron, given), (plain, exact)):
        y = function(**named, activate_in=activate_in, activate_out=activate_out)
        slopes = torch.autograd.grad(y.square().sum(), list(named.values()), create_graph=True)
        seconds.append(torch.autograd.grad(sum(s.square().sum() for s in slopes), list(named.values())))
    for a, b in zip(*seconds, strict=True):
        assert (a - b).norm() <= 1e-4 * b.norm()


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (5, 4)}, r"x has shape \(5, 4\) and the inner matrix \(3, 2\)"),
        ({"outer": (2, 4)}, r"the outer matrix has shape \(2, 4\), expected \(out_channel, 3\)"),
        ({"inner_bias": (2,)}, r"the inner bias has shape \(2,\), expected \(3,\)"),
        ({"outer_bias": ()}, r"the outer bias has shape \(\), expected \(2,\)"),
        ({"residual": (4, 2)}, r"the residual has shape \(4, 2\), expected the points of x, \(5,\)"),
        ({"skip": (3, 2)}, r"the skip matrix has shape \(3, 2\), expected \(2, 2\)"),
        ({"gate": (3,)}, r"the gate has shape \(3,\), expected \(2,\)"),
    ],
)
def test_errors_name_what_was_got(change, message, generator):
    given = arguments(generator, (5,), (2, 3, 2), ("skip", "gate"))
    given |= {name: draw(generator, *shape) for name, shape in change.items()}
    with pytest.raises(InputError, match=message):
        perceptron(**given)


def test_gelu_and_its_derivative_everywhere():
    """The approximation behind the float32 backward pass, over the whole line and at its ends."""
    x = torch.cat([torch.linspace(-40, 40, 200_001), torch.tensor([0.0, 1e18, -1e18, 1e-30])])
    y, slope = pointwise._with_slope(x)
    exact = x.double().requires_grad_()
    wanted = gelu(exact)
    (derivative,) = torch.autograd.grad(wanted.sum(), exact)
    assert (y - wanted).abs().div(x.double().abs().clamp_min(1)).max() < 3e-7
    assert (slope - derivative).abs().max() < 5e-7
    assert pointwise._with_slope(torch.tensor([torch.nan]))[0].isnan()


def test_large_results_stand_on_huge_pages_and_are_ordinary_tensors():
    y = pointwise.empty((1 << 10, 1 << 11), torch.zeros(1))
    assert y.shape == (1024, 2048) and y.dtype == torch.float32 and y.is_contiguous() and y.data_ptr() % 64 == 0
    y.fill_(2)
    assert float(y.clone().sum()) == 2.0**22
    assert pointwise.empty((3, 5), torch.zeros(1, dtype=torch.float64)).dtype == torch.float64


def test_the_derivative_in_the_maps_is_the_same_at_every_run(generator):
    given = arguments(generator, (3000,), (8, 16, 8), ("skip", "gate"), torch.float32)
    ends = {"activate_in": True, "activate_out": True}
    runs = [torch.autograd.grad(perceptron(**given, **ends).sum(), list(given.values())) for _ in range(2)]
    for a, b in zip(*runs, strict=True):
        assert torch.equal(a, b)


def test_autograd_adds_to_the_derivatives_in_place(generator):
    """A derivative that is a view, or held by something, costs one more tensor of the size of the field."""
    given = arguments(generator, (1 << 17,), (8, 4, 8), ("skip", "gate"), torch.float32)
    given = {name: t.detach() for name, t in given.items()}
    field = given["residual"].requires_grad_() * 1
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profile:
        (products.linear(field, torch.eye(8)) + perceptron(**given | {"residual": field})).sum().backward()
    added = [e.name for e in profile.events() if e.input_shapes[:2] == [[1 << 17, 8]] * 2]
    assert added.count("aten::add") == 1  # of the two fields, forward
    assert "aten::add_" in added


@pytest.mark.parametrize("points", [(0,), (), (2, 0, 3)])
def test_no_points_and_one(points, generator):
    given = arguments(generator, points, (2, 3, 2), ("skip", "gate"))
    y = perceptron(**given, activate_in=True, activate_out=True)
    assert y.shape == (*points, 2)
    torch.testing.assert_close(y, plain(**given, activate_in=True, activate_out=True))
    y.sum().backward()
    assert given["x"].grad.shape == given["x"].shape


def test_more_channels_than_a_block_of_registers_holds_are_left_to_the_reference(generator):
    given = arguments(generator, (3,), (257, 4, 2), (), torch.float32)
    with use("triton"), pytest.raises(InputError, match=r"257 channels are more than the 256 of a block|not installed"):
        perceptron(**given)


def test_triton_with_many_channels(generator):
    """As many channels as a block takes, so that every loop over channels turns more than once."""
    pytest.importorskip("triton")
    given = arguments(generator, (19,), (200, 40, 256), ("skip", "gate"), torch.float32)
    exact = {name: t.detach().double().requires_grad_() for name, t in given.items()}
    ends = {"activate_in": True, "activate_out": True}
    scale = 0.05  # keeps GELU away from its flat ends
    with use("triton"):
        y = perceptron(**{name: t * scale for name, t in given.items()}, **ends)
        found = torch.autograd.grad(y.sum(), list(given.values()))
    expected = plain(**{name: t * scale for name, t in exact.items()}, **ends)
    for a, b in zip((y, *found), (expected, *torch.autograd.grad(expected.sum(), list(exact.values()))), strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm()


def test_mixed_precision_keeps_the_dtype_of_the_region(generator):
    given = arguments(generator, (50,), (8, 16, 8), ("skip", "gate"), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y = perceptron(**given)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert all(t.grad.dtype == torch.float32 for t in given.values())


def test_symbolic_sizes(generator):
    given = {n: t.detach() for n, t in arguments(generator, (4, 5), (2, 3, 2), ("skip", "gate")).items()}
    fields = (given.pop("x"), given.pop("residual"))

    class Block(torch.nn.Module):
        def forward(self, x, residual):
            return perceptron(x, **given, residual=residual, activate_in=True)

    sizes = {0: torch.export.Dim("a", min=2), 1: torch.export.Dim("b", min=2)}
    program = torch.export.export(Block(), fields, dynamic_shapes=(sizes, sizes)).module()
    other = tuple(draw(generator, 7, 3, 2) for _ in range(2))
    torch.testing.assert_close(program(*other), Block()(*other))
