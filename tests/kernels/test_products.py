"""The quick products against the plain ones."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from sciops.errors import InputError
from sciops.kernels import products
from sciops.kernels.products import along, inner_product, linear, product, quick_inner_product


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(4, 3, 5), (300, 32, 17), (4096, 64, 1), (4096, 1, 64), (1, 300, 300), (0, 4, 4)])
@pytest.mark.parametrize("with_bias", [False, True])
def test_product_and_gelu(shape, with_bias, generator):
    rows, inner, columns = shape
    a, b = (torch.randn(n, inner, generator=generator) for n in (rows, columns))
    bias = torch.randn(columns, generator=generator) if with_bias else None
    exact = functional.linear(a.double(), b.double(), None if bias is None else bias.double())
    tolerance = {"rtol": 0, "atol": 3e-6 * inner**0.5}
    torch.testing.assert_close(product(a, b, bias).double(), exact, **tolerance)
    torch.testing.assert_close(product(a, b, bias, gelu=True).double(), functional.gelu(exact), **tolerance)


def test_transposed_and_strided_operands():
    a, b = draw(400, 60, dtype=torch.float32), draw(60, 80, dtype=torch.float32, seed=1)
    for left, right in ((a, b.mT), (a.mT.contiguous().mT, b.mT), (a[::2], b.mT), (a[:, ::2], b.mT[:, ::2])):
        torch.testing.assert_close(product(left, right), left @ right.mT, rtol=0, atol=1e-4)


def test_float32_products_of_some_size_take_onednn_where_there_is_one(monkeypatch):
    """The fast path exists for its speed: a silent fall back to the plain one would be a regression."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this build of torch has no oneDNN")
    a = draw(400, 60, dtype=torch.float32)
    assert products._onednn_takes(a, a)
    assert not products._onednn_takes(a.double(), a.double()) and not products._onednn_takes(a[:2], a[:2])
    monkeypatch.setattr(products, "_has_onednn", lambda: False)
    assert not products._onednn_takes(a, a)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_along_every_dimension(dim):
    x, matrix = draw(3, 4, 5), draw(6, (3, 4, 5)[dim], seed=1)
    expected = torch.tensordot(x, matrix, ([dim], [1])).movedim(-1, dim)
    torch.testing.assert_close(along(matrix, x, dim), expected)
    torch.testing.assert_close(along(matrix, x.mT.contiguous().mT, dim), expected)


def test_linear_is_differentiable_to_any_order():
    arguments = [t.requires_grad_() for t in (draw(2, 3, 4), draw(5, 4, seed=1), draw(5, seed=2))]
    assert torch.autograd.gradcheck(linear, arguments)
    assert torch.autograd.gradgradcheck(linear, arguments)
    assert torch.autograd.gradcheck(lambda x, w: linear(x, w), arguments[:2])


@pytest.mark.parametrize("shape", [(700, 5, 3), (700, 3, 80), (700, 80, 80), (1, 2, 2), (0, 2, 3)])
def test_inner_product_of_tall_matrices(shape, generator):
    points, m, n = shape
    a, b = (torch.randn(points, size, generator=generator) for size in (m, n))
    exact = a.double().mT @ b.double()
    for found in (inner_product(a, b), quick_inner_product(a, b), quick_inner_product(a.mT.contiguous().mT, b)):
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-5 * max(1, points) ** 0.5)
    assert inner_product(a, b).is_contiguous()
    tensors = [t[:4].double().requires_grad_() for t in (a[:, :3], b[:, :3])]
    assert torch.autograd.gradcheck(inner_product, tensors)
    assert torch.autograd.gradgradcheck(inner_product, tensors)


def test_the_transpose_of_linear_is_its_derivative(generator):
    """<W x, y> = <x, W' y>, for operands of any strides."""
    x, y = torch.randn(40, 6, 30, generator=generator).mT, torch.randn(40, 30, 9, generator=generator)
    weight = torch.randn(6, 9, generator=generator).mT
    (back,) = torch.autograd.grad(linear(x.requires_grad_(), weight), x, y)
    torch.testing.assert_close((linear(x, weight) * y).sum(), (x * back).sum(), rtol=1e-4, atol=1e-2)


def test_errors_name_the_shapes():
    with pytest.raises(InputError, match=r"x has shape \(2, 3\) and the weight \(5, 4\)"):
        linear(torch.zeros(2, 3), torch.zeros(5, 4))
    with pytest.raises(InputError, match=r"the bias has shape \(4,\), expected \(5,\)"):
        linear(torch.zeros(2, 4), torch.zeros(5, 4), torch.zeros(4))
    with pytest.raises(InputError, match=r"shapes \(2, 3\) and \(4, 3\)"):
        inner_product(torch.zeros(2, 3), torch.zeros(4, 3))
