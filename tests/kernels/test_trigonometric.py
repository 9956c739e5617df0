"""Sine and cosine transforms against SciPy, their inverses and adjoints, and the Laplacian's eigenfunctions."""

from __future__ import annotations

import itertools
import math

import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sciops.errors import InputError
from sciops.kernels.dispatch import use
from sciops.kernels.trigonometric import cosine_transform, sine_transform

PATHS = ("reference", "cpu")
NORMS = ("backward", "ortho", "forward")
SCIPY = {
    cosine_transform: (scipy.fft.dctn, scipy.fft.idctn),
    sine_transform: (scipy.fft.dstn, scipy.fft.idstn),
}
both = pytest.mark.parametrize("transform", [cosine_transform, sine_transform], ids=["cosine", "sine"])
kinds = pytest.mark.parametrize("kind", [1, 2, 3, 4])
norms = pytest.mark.parametrize("norm", NORMS)
paths = pytest.mark.parametrize("path", PATHS)


@both
@kinds
@norms
@paths
@pytest.mark.parametrize(
    ("shape", "dims"),
    [((7, 12), (1,)), ((9, 3, 8), (0, 2)), ((4, 5, 6), (2, 0, 1)), ((2, 16), (-1,)), ((3, 2, 11), None)],
)
def test_values_are_those_of_scipy(transform, kind, norm, path, shape, dims, generator):
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    axes = None if dims is None else list(dims)
    for inverse, peer in enumerate(SCIPY[transform]):
        expected = torch.from_numpy(peer(x.numpy(), type=kind, axes=axes, norm=norm))
        with use(path):
            found = transform(x, dims, kind=kind, norm=norm, inverse=bool(inverse))
        assert (found - expected).norm() < 1e-13 * expected.norm()


@both
@kinds
@norms
@paths
@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(2, 19), min_size=1, max_size=3), seed=st.integers(0, 2**31 - 1))
def test_inverse_and_adjoint_identities(transform, kind, norm, path, sizes, seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(sizes, generator=generator, dtype=torch.float64) for _ in range(2))
    x.requires_grad_()
    with use(path):
        z = transform(x, kind=kind, norm=norm)
        (adjoint,) = torch.autograd.grad(z, x, y)
        z = z.detach()
        back = transform(z, kind=kind, norm=norm, inverse=True)
        undone = transform(y, kind=kind, norm=norm, inverse=True)
    x = x.detach()
    assert (back - x).norm() < 1e-12 * x.norm()
    assert abs((z * y).sum() - (x * adjoint).sum()) < 1e-12 * z.norm() * y.norm()
    if norm == "ortho":
        assert (adjoint - undone).norm() < 1e-12 * y.norm()


@both
@kinds
def test_one_value(transform, kind):
    """The shortest axis; the cosine transform of type 1 needs two values."""
    x = torch.tensor([[3.0]])
    if transform is cosine_transform and kind == 1:
        with pytest.raises(InputError, match="dimension 1 has 1 values, expected 2 or more"):
            transform(x, [1], kind=1)
        return
    peer = SCIPY[transform][0]
    for path in PATHS:
        with use(path):
            found = transform(x, [1], kind=kind)
        assert torch.allclose(found, torch.from_numpy(peer(x.numpy(), type=kind, axes=[1], norm="forward")))


@both
@paths
@pytest.mark.parametrize("n", [12, 33, 64])
def test_coefficients_do_not_depend_on_the_grid(transform, path, n):
    """With the norm "forward" a sine or cosine of amplitude 1 has the coefficient 1/2, at nodes and at centres."""
    wave = torch.cos if transform is cosine_transform else torch.sin
    grids = {
        1: torch.arange(n + 1) if transform is cosine_transform else torch.arange(1, n),
        2: torch.arange(n) + 0.5,
    }
    for kind, places in grids.items():
        s = places.double() / n
        u = wave(3 * math.pi * s)[:, None] * wave(5 * math.pi * s)
        with use(path):
            c = transform(u, kind=kind)
        first = 0 if transform is cosine_transform else 1
        expected = torch.zeros_like(c)
        expected[3 - first, 5 - first] = 0.25
        assert (c - expected).abs().max() < 1e-14


@both
@paths
@pytest.mark.parametrize("kind", [1, 2])
def test_they_diagonalise_the_second_difference(transform, path, kind, generator):
    """Dirichlet or Neumann, nodes or centres: eigenvalues -(2 - 2 cos(pi k / n)) to rounding."""
    n = 24
    cosine = transform is cosine_transform
    count = n if kind == 2 else n + 1 if cosine else n - 1
    u = torch.randn(count, generator=generator, dtype=torch.float64)
    at_nodes = {True: (u[1], u[-2]), False: (torch.zeros(()), torch.zeros(()))}
    at_centres = {True: (u[0], u[-1]), False: (-u[0], -u[-1])}
    low, high = (at_nodes if kind == 1 else at_centres)[cosine]
    extended = torch.cat([low[None], u, high[None]])
    second = extended[2:] - 2 * u + extended[:-2]
    k = torch.arange(count, dtype=torch.float64) + (0 if cosine else 1)
    with use(path):
        found = transform(transform(u, kind=kind) * (2 * torch.cos(math.pi * k / n) - 2), kind=kind, inverse=True)
    assert (found - second).norm() < 1e-12 * u.norm()


@both
@pytest.mark.parametrize("kind", [1, 2])
def test_a_poisson_solve_converges_with_order_two(transform, kind):
    """-u'' = f with the eigenvalues of the second difference, against an exact solution that is no eigenfunction."""
    cosine = transform is cosine_transform
    errors = []
    for n in (32, 64, 128, 256):
        if kind == 2:
            s = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        else:
            s = torch.arange(n + 1, dtype=torch.float64) / n if cosine else torch.arange(1, n, dtype=torch.float64) / n
        if cosine:  # u' = 0 at both ends, mean zero
            u, f = s**2 * (1 - s) ** 2 - 1 / 30, -(2 - 12 * s + 12 * s**2)
        else:
            u, f = s * (1 - s) * torch.exp(s), (3 * s + s**2) * torch.exp(s)
        k = torch.arange(len(s), dtype=torch.float64) + (0 if cosine else 1)
        eigenvalues = (2 - 2 * torch.cos(math.pi * k / n)) * n**2
        c = transform(f, kind=kind)
        c = torch.where(eigenvalues > 0, c / eigenvalues.clamp_min(1e-9), 0)
        errors.append((transform(c, kind=kind, inverse=True) - u).abs().max())
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(1.9 < order < 2.1 for order in orders), orders


@both
def test_a_small_single_precision_field(transform, generator):
    x = torch.randn(5, 33, 20, generator=generator)
    for path in PATHS:
        with use(path):
            found = transform(x, [1, 2])
        expected = transform(x.double(), [1, 2])
        assert found.dtype == torch.float32
        assert (found - expected).norm() < 1e-6 * expected.norm()


@both
@paths
def test_the_result_is_a_new_tensor(transform, path):
    x = torch.ones(3, 4)
    with use(path):
        y = transform(x, [])
    assert torch.equal(x, y) and x.data_ptr() != y.data_ptr()


@both
def test_refusals_name_what_was_found(transform):
    x = torch.zeros(3, 4)
    with pytest.raises(InputError, match="kind 5, expected 1, 2, 3 or 4"):
        transform(x, [0], kind=5)
    with pytest.raises(InputError, match="unknown norm 'orthogonal'"):
        transform(x, [0], norm="orthogonal")
    with pytest.raises(InputError, match=r"dims \(0, 2\) given for a field of shape \(3, 4\)"):
        transform(x, (0, 2))
    with pytest.raises(InputError, match=r"dims \(1, -1\) name a dimension twice"):
        transform(x, (1, -1))
    with pytest.raises(InputError, match=r"dtype torch\.int64"):
        transform(x.long(), [0])
    with pytest.raises(InputError, match="dimension 0 has 0 values"):
        transform(torch.zeros(0, 3), [0])
    with pytest.raises(InputError, match=r"kind 2\.0, expected 1, 2, 3 or 4"):
        transform(x, [0], kind=2.0)
    with pytest.raises(InputError, match="dims is 1; a sequence of whole numbers"):
        transform(x, 1)


@both
@paths
def test_an_empty_batch_gives_an_empty_result(transform, path):
    x = torch.zeros(0, 4, requires_grad=True)
    with use(path):
        transform(x, [1]).sum().backward()
    assert x.grad.shape == (0, 4)
