"""The quick products against the plain ones, in every mode of execution."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from sciops.kernels import products
from sciops.kernels.products import along, is_eager, linear, product


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
    assert torch.autograd.gradcheck(lambda x: along(matrix, x, dim), x.requires_grad_())


def test_linear_is_differentiable_to_any_order():
    arguments = [t.requires_grad_() for t in (draw(2, 3, 4), draw(5, 4, seed=1), draw(5, seed=2))]
    assert torch.autograd.gradcheck(linear, arguments)
    assert torch.autograd.gradgradcheck(linear, arguments)
    assert torch.autograd.gradcheck(lambda x, w: linear(x, w), arguments[:2])


def test_traced_and_transformed_code_takes_the_plain_operators():
    x = draw(3)
    assert is_eager(x)
    seen = []
    torch.func.vmap(lambda row: (seen.append(is_eager(row)), row)[1])(draw(2, 3))
    torch.func.jvp(lambda row: (seen.append(is_eager(row)), row)[1], (x,), (x,))
    with torch.autograd.forward_ad.dual_level():
        seen.append(is_eager(torch.autograd.forward_ad.make_dual(x, x)))
    with torch.autocast("cpu", torch.bfloat16):
        seen.append(is_eager(x))
    assert seen == [False] * 4
