"""Truncated transforms, the spectral convolution, resampling and derivatives against plain float64 references."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sciops.errors import InputError
from sciops.kernels import (
    FourierAxis,
    fourier_coefficients,
    fourier_resample,
    fourier_synthesis,
    spectral_convolution,
    spectral_derivative,
    use,
)
from sciops.kernels.dispatch import KERNELS
from sciops.kernels.fourier import KINDS
from sciops.kernels.periodic import dealiased_product
from sciops.kernels.transform import mode_shape, numbers_of
from sciops.kernels.weights import Separable

SIZES = {1: (16,), 2: (12, 9), 3: (8, 9, 10)}


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def band_limited(sizes, modes, dtype=torch.float64, batch=(2, 3), seed=0):
    """A random trigonometric polynomial evaluated term by term on a periodic grid of any sizes."""
    generator = torch.Generator().manual_seed(seed)
    coordinates = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) / n for n in sizes), indexing="ij")
    field = torch.zeros(*batch, *sizes, dtype=torch.float64)
    for mode in itertools.product(*(range(-m, m + 1) for m in modes)):
        angle = 2 * math.pi * sum(k * s for k, s in zip(mode, coordinates, strict=True))
        a, b = torch.randn(2, *batch, *(1,) * len(sizes), dtype=torch.float64, generator=generator)
        field = field + a * angle.cos() + b * angle.sin()
    return field.to(dtype)


def reference_convolution(x, weight, modes):
    """Full complex FFT, every kept mode and its mirror multiplied one by one."""
    ndim = len(modes)
    dims = tuple(range(-ndim, 0))
    c = torch.fft.fftn(x.to(torch.complex128), dim=dims, norm="forward")
    out = torch.zeros(x.shape[0], weight.shape[-1], *x.shape[2:], dtype=torch.complex128)
    for mode in itertools.product(*(range(-m, m + 1) for m in modes[:-1]), range(modes[-1] + 1)):
        if any(2 * abs(k) >= n for k, n in zip(mode, x.shape[2:], strict=True)):
            continue
        w = weight[(*(k + m for k, m in zip(mode[:-1], modes[:-1], strict=True)), mode[-1])]
        matrix = torch.complex(w[:, 0], w[:, 1]).to(torch.complex128)
        at, mirror = (slice(None), slice(None), *mode), (slice(None), slice(None), *(-k for k in mode))
        if mode[-1]:
            out[at] += c[at] @ matrix
            out[mirror] += c[mirror] @ matrix.conj()
        else:  # the plane k_d = 0 holds both signs of the other frequencies: the real part of the synthesis
            out[at] += c[at] @ matrix / 2
            out[mirror] += c[mirror] @ matrix.conj() / 2
    y = torch.fft.ifftn(out, dim=dims, norm="forward")
    assert y.imag.abs().max() < 1e-12
    return y.real


@pytest.mark.parametrize("method", ["products", "fft"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_coefficients_are_those_of_the_full_transform(ndim, method):
    sizes, modes = SIZES[ndim], (3, 4, 2)[:ndim]
    x = draw(2, *sizes)
    full = torch.fft.fftn(x, dim=tuple(range(1, ndim + 1)), norm="forward")
    for axis, m in enumerate(modes, start=1):
        first = 0 if axis == ndim else -m
        full = full.index_select(axis, torch.arange(first, m + 1) % sizes[axis - 1])
    found = fourier_coefficients(x, modes, method=method)
    torch.testing.assert_close(found, full, rtol=0, atol=1e-14)


@pytest.mark.parametrize("method", ["products", "fft"])
@pytest.mark.parametrize("sizes", [(5,), (4,), (6, 5), (3, 4, 5)])
def test_missing_frequencies_are_zero_and_dropped(sizes, method):
    modes = (3,) * len(sizes)
    c = fourier_coefficients(draw(*sizes), modes, method=method)
    carried = [(n - 1) // 2 for n in sizes]
    inside = torch.zeros(c.shape, dtype=torch.bool)
    window = [slice(3 - k, 3 + k + 1) for k in carried[:-1]] + [slice(0, carried[-1] + 1)]
    inside[tuple(window)] = True
    assert (c[~inside] == 0).all() and (c[inside] != 0).any()
    full = torch.randn(c.shape, dtype=c.dtype, generator=torch.Generator().manual_seed(1))
    cut = fourier_synthesis(full * inside, modes, sizes, method=method)
    torch.testing.assert_close(fourier_synthesis(full, modes, sizes, method=method), cut, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", ["periodic", "closed", "cell", "left"])
def test_transform_and_synthesis_are_inverse_on_band_limited_periodic_fields_only(kind):
    x = band_limited((13, 12), (2, 3))
    axes = [FourierAxis(4, kind), FourierAxis(4)]
    y = fourier_synthesis(fourier_coefficients(x, axes), axes, (13, 12))
    assert ((y - x).abs().max() < 1e-13).item() == (kind in ("periodic", "cell"))


@pytest.mark.parametrize("method", ["products", "fft"])
@pytest.mark.parametrize("modes", [(2,), (9,), (3, 2), (7, 6), (2, 3, 1), (5, 4, 6)])
def test_convolution_against_the_reference_with_more_modes_than_the_grid_carries(modes, method, generator):
    sizes = SIZES[len(modes)]
    x = torch.randn(2, 3, *sizes, dtype=torch.float64, generator=generator)
    shape = (*(2 * m + 1 for m in modes[:-1]), modes[-1] + 1, 3, 2, 4)
    weight = torch.randn(shape, dtype=torch.float64, generator=generator)
    found = spectral_convolution(x, weight, modes, method=method)
    torch.testing.assert_close(found, reference_convolution(x, weight, modes), rtol=0, atol=1e-12)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("target", ["same", "double", "half", "odd"])
def test_methods_and_layouts_agree_in_value_and_gradient(ndim, target):
    sizes, modes = SIZES[ndim], (3, 4, 2)[:ndim]
    change = {"same": lambda n: n, "double": lambda n: 2 * n, "half": lambda n: n // 2, "odd": lambda n: 2 * n - 3}
    new = [change[target](n) for n in sizes]
    weight = draw(*(2 * m + 1 for m in modes[:-1]), modes[-1] + 1, 3, 2, 4, seed=1).requires_grad_()
    x, bias = draw(2, 3, *sizes).requires_grad_(), draw(2, 4, seed=2).requires_grad_()
    g = draw(2, 4, *new, seed=3)

    def outcome(function):
        y = function()
        return y, *torch.autograd.grad(y, (x, weight, bias), g)

    inward, outward = (ndim + 1, 0, *range(2, ndim + 1), 1), (1, ndim + 1, *range(2, ndim + 1), 0)
    dims = (*range(2, ndim + 1), 0)
    products = outcome(lambda: spectral_convolution(x, weight, modes, new, bias=bias, method="products"))
    by_fft = outcome(lambda: spectral_convolution(x, weight, modes, new, bias=bias, method="fft"))
    channels_last = outcome(
        lambda: spectral_convolution(x.permute(inward), weight, modes, new, bias=bias, dims=dims, channel=-1).permute(
            outward
        )
    )
    for a, b, c in zip(products, by_fft, channels_last, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(a, c, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", ["products", "fft"])
@pytest.mark.parametrize("new", [32, 8, 16, 17, 9])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_identity_weights_change_the_resolution_exactly(ndim, new, method):
    """A band-limited field on one grid becomes the same field on the other, to rounding: x2, x0.5, odd sizes."""
    modes, old, sizes = (3,) * ndim, (16,) * ndim, (new, 31, 9)[:ndim]
    weight = torch.zeros(*(2 * m + 1 for m in modes[:-1]), modes[-1] + 1, 3, 2, 3, dtype=torch.float64)
    weight[..., range(3), 0, range(3)] = 1
    y = spectral_convolution(band_limited(old, modes), weight, modes, sizes, method=method)
    torch.testing.assert_close(y, band_limited(sizes, modes), rtol=0, atol=1e-12)


def test_the_blocks_of_positive_and_negative_frequencies_never_overlap():
    """With more modes than the grid carries every frequency is used once: identity weights act as the identity."""
    weight = torch.zeros(13, 7, 1, 2, 1, dtype=torch.float64)
    weight[..., 0, 0, 0] = 1
    x = band_limited((7, 7), (3, 3), batch=(1, 1))
    for method in ("products", "fft"):
        torch.testing.assert_close(spectral_convolution(x, weight, (6, 6), method=method), x, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("kind", "padding"), [("periodic", 0.0), ("closed", 0.25), ("left", 0.0)])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_gradcheck(ndim, kind, padding):
    axes = [FourierAxis(2, kind, padding)] + [FourierAxis(1)] * (ndim - 1)
    x = draw(1, 2, *(6, 5, 4)[:ndim]).requires_grad_()
    weight = draw(*(2 * a.modes + 1 for a in axes[:-1]), axes[-1].modes + 1, 2, 2, 1, seed=1).requires_grad_()
    bias = draw(1, seed=2).requires_grad_()

    def function(x, weight, bias):
        return spectral_convolution(x, weight, axes, (4, 5, 6)[:ndim], bias=bias)

    assert torch.autograd.gradcheck(function, (x, weight, bias), fast_mode=ndim > 1)
    assert torch.autograd.gradgradcheck(function, (x, weight, bias), fast_mode=ndim > 1)


def test_float32_on_large_products_is_the_float64_result_to_rounding():
    x, weight = draw(2, 16, 64, 64, dtype=torch.float32), draw(17, 9, 16, 2, 16, dtype=torch.float32, seed=1)
    inputs32 = [x.requires_grad_(), weight.requires_grad_()]
    inputs64 = [t.detach().double().requires_grad_() for t in inputs32]
    for options in ({"method": "products"}, {"method": "fft"}):
        y, exact = (spectral_convolution(*inputs, (8, 8), **options) for inputs in (inputs32, inputs64))
        g = draw(*y.shape, seed=2)
        found, wanted = torch.autograd.grad(y, inputs32, g.float()), torch.autograd.grad(exact, inputs64, g)
        for a, b in zip((y, *found), (exact, *wanted), strict=True):
            assert (a - b).norm() < 2e-6 * b.norm()


def test_reduced_precision_works_at_any_size():
    x, weight = draw(2, 4, 30, 22, dtype=torch.float32), draw(7, 4, 4, 2, 4, dtype=torch.float32, seed=1)
    exact = spectral_convolution(x, weight, (3, 3))
    for dtype in (torch.bfloat16, torch.float16):
        y = spectral_convolution(x.to(dtype), weight.to(dtype), (3, 3))
        assert y.dtype == dtype and (y - exact).norm() < 0.03 * exact.norm()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(spectral_convolution(x, weight, (3, 3)), exact)


def test_nothing_of_the_size_of_the_grid_is_kept_for_the_backward_pass():
    x = draw(2, 4, 64, 64, dtype=torch.float32).requires_grad_()
    weight = draw(7, 4, 4, 2, 4, dtype=torch.float32, seed=1).requires_grad_()
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        spectral_convolution(x, weight, (3, 3))
    assert kept and max(kept) < x.numel() / 8


def test_function_transforms_agree_with_autograd():
    x, weight = draw(2, 2, 8, 6), draw(5, 3, 2, 2, 2, seed=1)
    v = draw(2, 2, 8, 6, seed=2)

    def function(x):
        return spectral_convolution(x, weight, (2, 2))

    y, tangent = torch.func.jvp(function, (x,), (v,))
    torch.testing.assert_close(y, function(x))
    torch.testing.assert_close(tangent, function(v))
    each = torch.func.vmap(function)(torch.stack([x, v]))
    torch.testing.assert_close(each, torch.stack([function(x), function(v)]))


@pytest.mark.parametrize("old", [8, 9])
@pytest.mark.parametrize("new", [3, 4, 8, 9, 16, 17])
def test_resampling_is_exact_on_fields_that_both_grids_carry(old, new):
    mode = (min(old, new) - 1) // 2
    x = band_limited((old, 5), (mode, 2))
    y = fourier_resample(x, [new], [-2])
    torch.testing.assert_close(y, band_limited((new, 5), (mode, 2)), rtol=0, atol=1e-13)


def test_resampling_refines_through_the_old_nodes_and_comes_back():
    x = draw(3, 8)
    fine = fourier_resample(x, [24])
    torch.testing.assert_close(fine[:, ::3], x)
    torch.testing.assert_close(fourier_resample(fine, [8]), x)
    torch.testing.assert_close(fourier_resample(draw(9, 4), [4, 9], [1, 0]), draw(9, 4))


def test_resampling_gradcheck():
    x = draw(2, 6).requires_grad_()
    for size in (4, 5, 9, 12):
        assert torch.autograd.gradcheck(lambda x, size=size: fourier_resample(x, [size]), x)


@pytest.mark.parametrize("size", [11, 12])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_derivative_is_exact_on_band_limited_fields(size, order):
    extent = 2.5
    s = torch.arange(size, dtype=torch.float64) / size * extent
    k = 2 * math.pi * 4 / extent
    x = torch.sin(k * s + 0.3).expand(3, size).mT
    expected = k**order * torch.sin(k * s + 0.3 + order * math.pi / 2).expand(3, size).mT
    found = spectral_derivative(x, 0, order=order, extent=extent)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_derivative_of_the_nyquist_frequency_and_gradcheck():
    x = torch.tensor([1.0, -1.0] * 4, dtype=torch.float64)
    assert spectral_derivative(x, 0).abs().max() < 1e-13
    torch.testing.assert_close(spectral_derivative(x, 0, order=2), -((8 * math.pi) ** 2) * x)
    assert torch.autograd.gradcheck(lambda x: spectral_derivative(x, 1), draw(2, 6).requires_grad_())


@st.composite
def bases(draw, kinds=KINDS):
    """One to three axes with any modes, kinds and paddings, and a size for each."""
    axes = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(kinds))
        padding = 0.0 if kind == "periodic" else draw(st.sampled_from([0.0, 0.25, 0.6]))
        axes.append(FourierAxis(draw(st.integers(0, 5)), kind, padding))
    return tuple(axes), [draw(st.integers(2, 9)) for _ in axes]


@settings(max_examples=60, deadline=None)
@given(bases(), st.sampled_from(["reference", "cpu"]), st.booleans(), st.integers(0, 2**31))
def test_adjoint_identity_of_transform_and_synthesis(drawn, path, last_first, seed):
    """<A x, c> = <x, A^T c>, with the transpose that the backward pass uses, on either path, any order of axes."""
    axes, sizes = drawn
    generator = torch.Generator().manual_seed(seed)
    numbers, dims = numbers_of(axes), list(range(1, len(axes) + 1))
    dims = dims[1:] + dims[:1] if last_first else dims
    shape = [3, *(sizes[dims.index(i)] for i in sorted(dims))]
    x = torch.randn(shape, dtype=torch.float64, generator=generator)
    c = torch.randn(*mode_shape(axes), 2, 3, dtype=torch.float64, generator=generator)
    with use(path, "transform"):
        for adjoint in (False, True):
            forward = KERNELS["fourier_analysis"](x, dims, *numbers, adjoint, "products")
            backward = KERNELS["fourier_synthesis"](c, dims, *numbers, sizes, not adjoint, "products")
            scale = forward.norm() * c.norm() + 1e-300
            assert abs((forward * c).sum() - (x * backward).sum()) < 1e-13 * scale


@settings(max_examples=40, deadline=None)
@given(bases(("periodic",)), st.booleans(), st.integers(0, 2**31))
def test_products_and_ffts_are_the_same_map_and_have_the_same_transpose(drawn, adjoint, seed):
    axes, sizes = drawn
    generator = torch.Generator().manual_seed(seed)
    numbers, dims = numbers_of(axes), list(range(len(axes)))
    x = torch.randn(*sizes, 2, dtype=torch.float64, generator=generator)
    c = torch.randn(*mode_shape(axes), 2, 2, dtype=torch.float64, generator=generator)
    pairs = [KERNELS["fourier_analysis"](x, dims, *numbers, adjoint, method) for method in ("products", "fft")]
    fields = [KERNELS["fourier_synthesis"](c, dims, *numbers, sizes, adjoint, method) for method in ("products", "fft")]
    for a, b in (pairs, fields):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13 * (1 + a.abs().max().item()))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**31))
def test_adjoint_identity_of_resampling(old, new, seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(n, 2, dtype=torch.float64, generator=generator) for n in (old, new))
    resample = KERNELS["fourier_resample"]
    forward, backward = resample(x, new, 0, False), resample(y, old, 0, True)
    assert abs((forward * y).sum() - (x * backward).sum()) < 1e-13 * forward.norm() * y.norm() + 1e-300


@pytest.mark.parametrize(("ndim", "channel_first"), [(1, False), (2, True), (3, False)])
def test_the_fast_path_is_the_plain_one_for_fields_of_any_strides(ndim, channel_first, generator):
    modes, sizes = (2, 3, 1)[:ndim], (7, 8, 5)[:ndim]
    x = torch.randn(3, 2, *sizes, dtype=torch.float64, generator=generator).transpose(0, 1)  # batch 2, channels 3
    weight = torch.randn(
        *mode_shape([FourierAxis(m) for m in modes]), 3, 2, 4, dtype=torch.float64, generator=generator
    )
    options = {}
    if channel_first:
        x, options = x.transpose(0, 1), {"channel": 0, "dims": tuple(range(2, ndim + 2))}
    found = spectral_convolution(x.flip(-1)[..., ::1], weight, modes, **options)
    with use("reference"):
        expected = spectral_convolution(x.flip(-1).contiguous(), weight, modes, **options)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


def test_a_separable_weight_is_a_diagonal_dense_one(generator):
    """The unfused way, transform, mix, synthesise, against the fused one: values, constants and gradients."""
    modes, channels = (3, 2), 4
    factor = torch.randn(7, 3, 2, channels, dtype=torch.float64, generator=generator).requires_grad_()
    x = torch.randn(2, channels, 9, 8, dtype=torch.float64, generator=generator).requires_grad_()
    bias = torch.randn(2, channels, dtype=torch.float64, generator=generator).requires_grad_()
    dense = (factor.unsqueeze(-3) * torch.eye(channels, dtype=torch.float64)[:, None]).contiguous()
    leaves = (x, factor, bias)
    for options in ({}, {"sizes": (12, 7)}, {"dims": (3, 2)}):
        found = spectral_convolution(x, Separable(factor), modes, bias=bias, **options)
        expected = spectral_convolution(x, dense, modes, bias=bias, **options)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        g = torch.randn(found.shape, dtype=torch.float64, generator=generator)
        slopes = [torch.autograd.grad(y, leaves, g, retain_graph=True) for y in (found, expected)]
        for a, b in zip(*slopes, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    with pytest.raises(InputError, match=r"expected modes \(7, 4\) and 4 channels in"):
        spectral_convolution(x, Separable(factor), (3, 3))


def test_a_frozen_weight_or_field_costs_no_gradient_and_changes_none():
    x, weight = draw(2, 3, 8, 6), draw(5, 3, 3, 2, 4, seed=1)
    g = draw(2, 4, 8, 6, seed=2)
    both = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
    expected = torch.autograd.grad(spectral_convolution(*both, (2, 2)), both, g)
    for i in range(2):
        arguments = [x, weight]
        arguments[i] = arguments[i].clone().requires_grad_()
        (found,) = torch.autograd.grad(spectral_convolution(*arguments, (2, 2)), arguments[i], g)
        assert torch.equal(found, expected[i])


def test_the_kept_modes_are_the_coefficients_and_can_be_differentiated(generator):
    """The operator gives what it keeps; a loss may look at it."""
    x = torch.randn(2, 3, 8, 6, dtype=torch.float64, generator=generator).requires_grad_()
    weight = torch.randn(5, 3, 3, 2, 4, dtype=torch.float64, generator=generator)
    axes = tuple(FourierAxis(2) for _ in range(2))
    _, pair = KERNELS["spectral_convolution"](x, weight, None, 1, [2, 3], *numbers_of(axes), [8, 6], "products")
    c = fourier_coefficients(x, axes).movedim((0, 1), (2, 3))
    torch.testing.assert_close(torch.complex(*pair.unbind(2)), c)
    (slope,) = torch.autograd.grad(pair.square().sum(), x)
    (expected,) = torch.autograd.grad(c.abs().square().sum(), x)
    torch.testing.assert_close(slope, expected)


@pytest.mark.parametrize("sizes", [(9,), (8,), (8, 7), (6, 5, 8)])
def test_dealiased_product_against_the_convolution_of_coefficients(sizes, generator):
    """Coefficients of the result are sums c_j d_{k-j} over the frequencies that the grid carries, and no others."""
    modes = [(n - 1) // 2 for n in sizes]
    u, v = (
        band_limited(sizes, modes, batch=(2,), seed=int(torch.randint(99, (1,), generator=generator))) for _ in "uv"
    )
    dims = tuple(range(1, len(sizes) + 1))
    c, d = (np.fft.fftn(f.numpy(), axes=dims, norm="forward") for f in (u, v))
    found = np.fft.fftn(dealiased_product(u, v, dims).numpy(), axes=dims, norm="forward")
    frequencies = list(itertools.product(*(range(-m, m + 1) for m in modes)))
    for k in frequencies:
        total = 0
        for j in frequencies:
            rest = tuple(a - b for a, b in zip(k, j, strict=True))
            if all(abs(r) <= m for r, m in zip(rest, modes, strict=True)):
                total = total + c[(slice(None), *j)] * d[(slice(None), *rest)]
        np.testing.assert_allclose(
            found[(slice(None), *k)], total, rtol=0, atol=1e-12 * abs(c).max() * abs(d).max() * 100
        )


def test_the_plain_product_aliases_and_the_dealiased_one_does_not():
    s = torch.arange(16, dtype=torch.float64) / 16
    u = torch.cos(2 * math.pi * 6 * s)
    exact = torch.full_like(s, 0.5)  # cos^2 = 1/2 + cos(12 s)/2, and 12 is above what 16 nodes carry
    assert (dealiased_product(u, u, [0]) - exact).abs().max() < 1e-14
    assert (u * u - exact).abs().max() > 0.49
    torch.testing.assert_close(dealiased_product(u, u, [0], rule=1), u * u)
    assert torch.autograd.gradcheck(lambda u: dealiased_product(u, u, [0]), draw(7).requires_grad_())


def test_short_and_long_axes_agree_across_the_change_of_method(generator):
    """The processor takes a real product on short axes and FFTs on long ones: both are the plain map."""
    for size, dim in ((64, 1), (66, 1), (256, 0), (258, 0)):
        x = torch.randn(size, size, dtype=torch.float64, generator=generator)[:, :3]
        x = x if dim == 0 else x.mT.contiguous()
        for function in (
            lambda x, d=dim: spectral_derivative(x, d, order=3),
            lambda x, d=dim, n=size: fourier_resample(x, [n - 7], [d]),
        ):
            found = function(x)
            with use("reference"):
                expected = function(x)
            assert (found - expected).norm() < 1e-12 * expected.norm()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: fourier_coefficients(x.long(), [2]), "torch.int64"),
        (lambda x: fourier_coefficients(x, [1] * 5), "cannot be transformed over 5 axes"),
        (lambda x: fourier_coefficients(x, [FourierAxis(1, "closed")], method="fft"), "needs periodic axes"),
        (lambda x: fourier_coefficients(x, [1], method="dct"), "unknown method 'dct'"),
        (lambda x: fourier_coefficients(x[..., :0], [2]), "periodic axis of 0 nodes"),
        (lambda x: fourier_coefficients(x[..., :1], [FourierAxis(1, "closed")]), "closed axis of 1 nodes"),
        (lambda x: fourier_synthesis(x.to(torch.complex128), [9, 9], [4, 4]), r"axes keep \(19, 10\)"),
        (lambda x: fourier_synthesis(x, [5], [4]), "dtype torch.float64; complex ones"),
        (lambda x: fourier_synthesis(x.to(torch.complex128), [], []), "no axes given"),
        (lambda x: fourier_synthesis(x.to(torch.complex128), [5], [0]), "periodic axis of 0 nodes"),
        (lambda x: spectral_convolution(x, x, [2, 2]), "the weight has shape"),
        (lambda x: spectral_convolution(x, torch.zeros(5, 3, 2, 2, 1), [2, 2], [4]), "1 sizes given for 2 axes"),
        (lambda x: spectral_convolution(x, x, [2, 2], dims=(1, 2)), "each once"),
        (lambda x: spectral_convolution(x, x, [2, 2], dims=(2, 7)), r"dims \(2, 7\) given"),
        (lambda x: spectral_convolution(x, x, [2, 2], channel=5), r"dims \(5,\) given"),
        (lambda x: spectral_convolution(x, torch.zeros(5, 3, 2, 2, 1), [2, 2], [4, 0]), "axis of 0 nodes"),
        (
            lambda x: spectral_convolution(x, torch.zeros(5, 3, 2, 2, 1), [2, 2], bias=torch.zeros(3, 1)),
            r"the bias has shape \(3, 1\), expected \(1,\) or \(2, 1\)",
        ),
        (
            lambda x: spectral_convolution(x, torch.zeros(5, 3, 2, 2, 1), [2, 2], bias=torch.zeros(1).cfloat()),
            "the bias is of dtype torch.complex64",
        ),
        (lambda x: spectral_convolution(x, torch.zeros(5, 3, 2, 1).cfloat(), [2, 2]), "view_as_real"),
        (lambda x: spectral_convolution(x, torch.zeros(5, 3, 2, 2, 1).cfloat(), [2, 2]), "view_as_real"),
        (lambda x: spectral_convolution(x, Separable(torch.zeros(5, 3, 2).cfloat()), [2, 2]), "view_as_real"),
        (
            lambda x: spectral_convolution(x, torch.zeros(3, 3, 2, 2, 1), [2, 2]),
            r"expected modes \(5, 3\) and 2 channels",
        ),
        (lambda x: dealiased_product(x, x, [0], rule=0.5), "rule is 0.5"),
        (lambda x: dealiased_product(x, x, [0], rule=math.nan), "rule is nan"),
        (lambda x: dealiased_product(x, x, [4]), r"dims \(4,\) given"),
        (lambda x: dealiased_product(x, x[0, 0], [0]), r"count them from the end, as in \(-4,\)"),
        (lambda x: dealiased_product(x, x[..., :3], [0]), "shapes that broadcast"),
        (lambda x: dealiased_product(x, x[:1], [0]), r"sizes \[2\] and \[1\]"),
        (lambda x: fourier_resample(x, [4, 4], [0]), "2 sizes given for 1 dims"),
        (lambda x: fourier_resample(x, [0]), "to 0 nodes; a whole number, 1 or more"),
        (lambda x: fourier_resample(x, [4.0]), "to 4.0 nodes; a whole number"),
        (lambda x: fourier_resample(x, [4], [4]), r"dims \(4,\) given"),
        (lambda x: fourier_resample(x, [4], 0), "dims is 0; a sequence"),
        (lambda x: fourier_resample(x, [4] * 5), "given for a field of shape"),
        (lambda x: fourier_resample(x[:0], [4], [0]), "has no nodes"),
        (lambda x: spectral_derivative(x, 0, order=-1), "order is -1"),
        (lambda x: spectral_derivative(x, 0, order=1.5), "order is 1.5"),
        (lambda x: spectral_derivative(x, 4), r"dims \(4,\) given"),
        (lambda x: spectral_derivative(x[0, 0, 0, 0], 0), "it has no dimensions"),
        (lambda x: spectral_derivative(x[:0], 0), "has no nodes"),
        (lambda x: spectral_derivative(x, 0, extent=0.0), "must be positive"),
        (lambda x: spectral_derivative(x, 0, extent=math.nan), "extent is nan"),
    ],
)
def test_input_that_does_not_fit_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(torch.zeros(2, 2, 6, 6, dtype=torch.float64))


@pytest.mark.parametrize("path", ["reference", "cpu"])
@pytest.mark.parametrize("method", ["products", "fft"])
def test_an_empty_batch_gives_an_empty_result(path, method):
    x, weight = draw(0, 2, 8, 9).requires_grad_(), draw(5, 4, 2, 2, 3).requires_grad_()
    with use(path):
        assert fourier_coefficients(x, [3, 2], method=method).shape == (0, 2, 7, 3)
        c = torch.zeros(0, 5, 4, dtype=torch.complex128)
        assert fourier_synthesis(c, [2, 3], [6, 7], method=method).shape == (0, 6, 7)
        for dense in (weight, Separable(draw(5, 4, 2, 2))):
            y = spectral_convolution(x, dense, [2, 3], bias=draw(dense.shape[-1]) if dense is weight else None)
            assert y.shape == (0, 3 if dense is weight else 2, 8, 9)
            y.sum().backward()
        assert fourier_resample(x, [6, 12]).shape == (0, 2, 6, 12)
        assert spectral_derivative(x, -1).shape == x.shape
    assert x.grad.shape == x.shape and (weight.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_coefficients_of_half_precision_are_single(dtype):
    x = draw(2, 16).to(dtype)
    c = fourier_coefficients(x, [3])
    assert c.dtype == torch.complex64
    expected = fourier_coefficients(x.double(), [3])
    assert (c - expected).norm() < 4 * torch.finfo(dtype).eps * expected.norm()


def test_shapes_on_the_meta_device():
    x = torch.empty(2, 2, 8, device="meta")
    assert spectral_convolution(x, torch.empty(3, 2, 2, 4, device="meta"), [2], [10]).shape == (2, 4, 10)


def test_factors_of_a_dealiased_product_may_differ_in_number_of_dimensions():
    u, v = draw(3, 8), draw(8, seed=1)
    expected = torch.stack([dealiased_product(row, v, [0]) for row in u])
    torch.testing.assert_close(dealiased_product(u, v, [-1]), expected, rtol=0, atol=1e-14)
