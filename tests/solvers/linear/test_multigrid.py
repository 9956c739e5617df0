"""Multigrid as a preconditioner: symmetric and positive, iterations that stay, options, what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.solvers.linear import Diffusion, Sparse, cg
from sciops.solvers.linear.multigrid import Chebyshev, Multigrid, RedBlack


def rough(*shape: int, generator: torch.Generator) -> Tensor:
    """Another random number in every cell, over three decades."""
    return torch.rand(shape, generator=generator, dtype=torch.float64).mul(7).exp()


def inclusions(n: int, d: int, contrast: float = 1e3) -> Tensor:
    """Balls on a lattice, which every grid resolves as it can."""
    x = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    squares = [((x * 4) % 1 - 0.5).square().view(-1, *(1,) * (d - a - 1)) for a in range(d)]
    inside = sum(squares[1:], start=squares[0]) < 0.09
    return torch.where(inside, contrast, 1.0).double()


@pytest.mark.parametrize("boundary", ["dirichlet", "neumann", "periodic", 0.5])
@pytest.mark.parametrize("space", [(64,), (40, 24), (24, 20, 12)])
@pytest.mark.parametrize(
    "options", [{}, {"coarsening": "sums"}, {"coarsening": "sums", "smoother": "red-black"}], ids=str
)
def test_the_cycle_is_symmetric_and_positive(
    space: tuple[int, ...], boundary: str | float, options: dict[str, str], generator: torch.Generator
) -> None:
    A = Diffusion(rough(*space, generator=generator), grid=1.0, boundary=boundary)
    M = Multigrid(A, dtype=torch.float64, **options)  # type: ignore[arg-type]
    x, y = (torch.randn(1, 1, *space, generator=generator, dtype=torch.float64) for _ in range(2))
    if A.nullspace is not None:
        x, y = x - x.mean(), y - y.mean()
    left, right = (M(x) * y).sum(), (x * M(y)).sum()
    assert torch.allclose(left, right, rtol=1e-8, atol=1e-8 * float(left.abs() + right.abs()))
    assert (M(x) * x).sum() > 0 and (M(y) * y).sum() > 0


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("turns", [1, 2])
def test_iterations_hardly_grow_as_the_grid_is_refined(d: int, turns: int, generator: torch.Generator) -> None:
    counts = []
    for n in (32, 64, 128) if d == 2 else (16, 32):
        A = Diffusion(inclusions(n, d), grid=1 / n)
        b = torch.randn((n,) * d, generator=generator, dtype=torch.float64)
        counts.append(int(cg(A, b, M=Multigrid(A, turns=turns), rtol=1e-8).iterations.max()))
    assert max(counts) <= 12 and max(counts) <= min(counts) + 3, counts


def test_coarse_equations_of_the_operator_beat_sums(generator: torch.Generator) -> None:
    A = Diffusion(inclusions(128, 2, 1e4), grid=1 / 128)
    b = torch.randn(128, 128, generator=generator, dtype=torch.float64)
    counts = {c: int(cg(A, b, M=Multigrid(A, coarsening=c), rtol=1e-8).iterations.max()) for c in ("galerkin", "sums")}
    assert counts["galerkin"] < counts["sums"], counts


@pytest.mark.parametrize("space", [(61, 47), (33, 20, 17)])
def test_odd_numbers_of_cells(space: tuple[int, ...], generator: torch.Generator) -> None:
    A = Diffusion(rough(*space, generator=generator), grid=1.0)
    b = torch.randn(space, generator=generator, dtype=torch.float64)
    assert cg(A, b, M="multigrid", rtol=1e-8).converged
    periodic = Diffusion(rough(*space, generator=generator), grid=1.0, boundary="periodic")
    assert Multigrid(periodic).coarsening == "sums"
    assert cg(periodic, b - b.mean(), M="multigrid", rtol=1e-8).converged


def test_a_batch_and_several_right_hand_sides(generator: torch.Generator) -> None:
    k = rough(3, 32, 32, generator=generator)
    b = torch.randn(3, 2, 32, 32, generator=generator, dtype=torch.float64)
    A = Diffusion(k, grid=[1.0, 1.0])
    together = cg(A, b, M=Multigrid(A), rtol=1e-10)
    for i in range(3):
        one = Diffusion(k[i], grid=1.0)
        alone = cg(one, b[i], M=Multigrid(one), rtol=1e-10)
        assert torch.allclose(together.value[i], alone.value, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("size", [1e-30, 1e30])
@pytest.mark.parametrize("scale", [1e-40, 1e40])
def test_units_do_not_matter(size: float, scale: float, generator: torch.Generator) -> None:
    k = rough(32, 32, generator=generator)
    b = torch.randn(32, 32, generator=generator, dtype=torch.float64)
    plain, A = Diffusion(k, grid=1.0), Diffusion(k * scale, grid=1.0)
    expected = cg(plain, b, M=Multigrid(plain), rtol=1e-8)
    found = cg(A, b * size, M=Multigrid(A), rtol=1e-8)
    assert found.iterations.tolist() == expected.iterations.tolist()
    assert torch.allclose(found.value * (scale / size), expected.value, rtol=1e-6)


def test_single_precision_costs_no_iterations(generator: torch.Generator) -> None:
    A = Diffusion(inclusions(64, 2), grid=1 / 64)
    b = torch.randn(64, 64, generator=generator, dtype=torch.float64)
    single, double = (cg(A, b, M=Multigrid(A, dtype=t), rtol=1e-10).iterations for t in (torch.float32, torch.float64))
    assert abs(int(single.max()) - int(double.max())) <= 1
    far = torch.ones(32, 32, dtype=torch.float64)
    far[16:] = 1e9
    assert Multigrid(Diffusion(far, grid=1.0)).dtype == torch.float64
    assert Multigrid(A).dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"turns": 0}, "1 .V., 2 .W. or 3 turns on each level, got 0"),
        ({"coarsening": ""}, "unknown coarsening ''"),
        ({"coarsening": "galerking"}, "did you mean 'galerkin'"),
        ({"smoother": "chebishev"}, "did you mean 'chebyshev'"),
        ({"smoother": 3}, "a smoother is"),
        ({"dtype": torch.float16}, "float32 or torch.float64"),
        ({"smoother": RedBlack()}, "coarsening='sums'"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    A = Diffusion(torch.ones(16, 16, dtype=torch.float64), grid=1.0)
    with pytest.raises(InputError, match=message):
        Multigrid(A, **options)  # type: ignore[arg-type]


def test_what_it_refuses() -> None:
    with pytest.raises(InputError, match="needs an operator on a grid"):
        Multigrid(Sparse(torch.eye(4, dtype=torch.float64)))
    with pytest.raises(InputError, match="degree of at least 1"):
        Chebyshev(0)
    with pytest.raises(InputError, match="at least one step"):
        RedBlack(0)
    periodic = Diffusion(torch.ones(22, 22, dtype=torch.float64), grid=1.0, boundary="periodic")
    with pytest.raises(InputError, match="halves more often"):
        Multigrid(periodic)


def test_nan_comes_back_as_nan() -> None:
    A = Diffusion(torch.ones(16, 16, dtype=torch.float64), grid=1.0)
    b = torch.ones(1, 1, 16, 16, dtype=torch.float64)
    b[0, 0, 3, 3] = torch.nan
    assert Multigrid(A)(b).isnan().any()
    assert not Multigrid(A)(torch.zeros_like(b)).any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_an_answer_goes_into_memory_that_is_given(dtype, generator):
    A = Diffusion(torch.rand(3, 24, 20, generator=generator, dtype=torch.float64) + 0.5, (0.1, 0.1)).to(dtype)
    M, r = Multigrid(A), torch.randn(2, 3, 2, 24, 20, generator=generator, dtype=torch.float64).to(dtype)
    out = torch.full_like(r[0], torch.nan)
    first = M(r[0])
    assert M.into(r[0], out) is out and torch.equal(out, first) and out.dtype == dtype
    second = M(r[1])
    assert torch.equal(first, out) and not torch.equal(first, second)  # answers of calls are memory of their own
    assert not M.into(torch.zeros_like(out), out).any()
    assert M.into(torch.full_like(out, torch.nan), out).isnan().all()
