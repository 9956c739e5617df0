"""Multigrid as a preconditioner: symmetric and positive, iterations that stay, options, what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.solvers.linear import Chebyshev, Diffusion, L1Jacobi, Line, Multigrid, RedBlack, Sparse, cg, full_multigrid
from sciops.solvers.linear.smoothers import choose_smoother


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
    "options",
    [
        {},
        {"coarsening": "sums"},
        {"coarsening": "sums", "smoother": "red-black"},
        {"smoother": "line"},
        {"smoother": "l1-jacobi"},
        {"smoother": L1Jacobi(1), "coarsening": "sums"},
        {"coarsening": "sums", "smoother": Line(0, degree=1)},
        {"turns": 2},
    ],
    ids=str,
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


@pytest.mark.parametrize(
    "smoother", [Chebyshev(), Chebyshev(2, 0.25), Chebyshev(8, 0.02), Line(0), Line(), None], ids=str
)
def test_the_matrix_of_a_cycle_is_symmetric_positive_definite(
    smoother: Chebyshev | Line | None, generator: torch.Generator
) -> None:
    k = rough(1, 2, 15, 12, generator=generator)
    k[:, 0] *= 1e3
    A = Diffusion(k, grid=(1.0, 1.0), boundary=["dirichlet", "neumann"])
    M = Multigrid(A, smoother=smoother, dtype=torch.float64)
    assert len(M.levels) == 1 and M.smoothers == [smoother or Line(0)]
    matrix = M(torch.eye(180, dtype=torch.float64).view(1, 180, 15, 12)).view(180, 180)
    assert torch.allclose(matrix, matrix.T, rtol=1e-9, atol=1e-9 * float(matrix.abs().amax()))
    dense = torch.from_numpy(A.to_scipy().toarray())
    root = torch.linalg.cholesky(dense)
    values = torch.linalg.eigvalsh(root.T @ (matrix + matrix.T) @ root / 2)
    assert values.min() > 0 and values.max() < 1 + 1e-6  # of M A: a cycle never does too much


def directed(n: int, axis: int, ratio: float, kind: str, seed: int) -> Tensor:
    """Diagonal permeability tensors (1, 2, n, n), one axis stronger than the other."""
    x = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    waves = torch.Generator().manual_seed(seed)
    g = torch.zeros(n, n, dtype=torch.float64)
    for i in range(1, 9):
        for j in range(1, 9):
            amplitude = float(torch.randn((), generator=waves)) / (i * i + j * j)
            g += amplitude * torch.cos(torch.pi * i * x)[:, None] * torch.cos(torch.pi * j * x)
    k = {
        "constant": torch.ones_like(g),
        "smooth": torch.exp(3 * g / g.abs().amax()),
        "two-phase": torch.where(g > g.median(), 1e3, 1.0).double(),
    }[kind]
    k = k[None, None].repeat(1, 2, 1, 1)
    k[:, axis] *= ratio
    return k


@pytest.mark.parametrize("kind", ["constant", "smooth", "two-phase"])
@pytest.mark.parametrize("axis", [0, 1])
def test_anisotropy_costs_few_iterations(axis: int, kind: str, generator: torch.Generator) -> None:
    counts = {}
    for n in (64, 256):
        b = torch.randn(n, n, generator=generator, dtype=torch.float64)
        for ratio in (1.0, 10.0, 100.0, 1e3, 1e6):
            A = Diffusion(directed(n, axis, ratio, kind, 3), grid=(1.0, 1.0))
            M = Multigrid(A)
            assert isinstance(M.smoothers[0], Line if ratio > 1 else Chebyshev)
            counts[n, ratio] = int(cg(A, b, M=M, rtol=1e-6).iterations.max())
    assert max(counts.values()) <= 9 and max(counts.values()) <= min(counts.values()) + 5, counts


def test_lines_in_three_dimensions_and_along_both_axes(generator: torch.Generator) -> None:
    b = torch.randn(24, 24, 24, generator=generator, dtype=torch.float64)
    for axis in range(3):
        k = torch.ones(1, 3, 24, 24, 24, dtype=torch.float64)
        k[:, axis] = 1e3
        A = Diffusion(k, grid=(1.0, 1.0, 1.0))
        assert Multigrid(A).smoothers[0] == Line(axis)
        assert cg(A, b, M="multigrid", rtol=1e-6).iterations <= 6
        weak = Diffusion(1e3 / k, grid=(1.0, 1.0, 1.0))
        assert Multigrid(weak).smoothers[0] == Chebyshev(8, 0.02)
        assert cg(weak, b, M="multigrid", rtol=1e-6).iterations <= 14
    halves = torch.ones(1, 2, 64, 64, dtype=torch.float64)
    halves[:, 0, :32] = halves[:, 1, 32:] = 1e3
    turned = Diffusion(halves, grid=(1.0, 1.0))
    assert Multigrid(turned).smoothers[0] == Line((0, 1))
    assert cg(turned, b[0, :, :].repeat(3, 3)[:64, :64], M="multigrid", rtol=1e-6).iterations <= 14


def test_layers_ask_for_lines_and_jumps_do_not(generator: torch.Generator) -> None:
    layers = torch.rand(128, 1, generator=generator, dtype=torch.float64).mul(14).exp().expand(128, 128)
    A = Diffusion(layers, grid=1.0)
    assert Multigrid(A).smoothers[0] == Line(1)
    b = torch.randn(128, 128, generator=generator, dtype=torch.float64)
    assert cg(A, b, M="multigrid", rtol=1e-6).iterations <= 9
    for n, d in ((128, 2), (32, 3)):
        assert choose_smoother(Diffusion(inclusions(n, d), grid=1.0).coupling) == Chebyshev(3, 0.15)
    assert choose_smoother(Diffusion(torch.ones(9).double(), grid=1.0).coupling) == Chebyshev(3, 0.15)


def test_nested_iteration_ends_near_the_error_of_the_discretisation(generator: torch.Generator) -> None:
    errors = []
    for n in (32, 64, 128):
        A = Diffusion(torch.ones(n, n, dtype=torch.float64), grid=1 / n)
        x = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        exact = torch.sin(torch.pi * x)[:, None] * torch.sin(2 * torch.pi * x)
        b = 5 * torch.pi**2 * exact
        discrete = cg(A, b, M="multigrid", rtol=1e-10).value
        found = Multigrid(A).guess(b, cycles=2)
        assert found.shape == b.shape and found.dtype == b.dtype
        errors.append(float((found - exact).norm() / (discrete - exact).norm()))
    assert max(errors) < 1.3, errors
    M = Multigrid(A)
    assert cg(A, b, M=M, x0=M.guess(b), rtol=1e-6).iterations < cg(A, b, M=M, rtol=1e-6).iterations
    # two cycles on each level are better than one
    fields = b[None, None].float()
    left = [M.levels[0].residual(fields, full_multigrid(M.levels, M.coarsest, fields, cycles=c)) for c in (1, 2)]
    assert left[1].norm() < 0.5 * left[0].norm() * A.stencil_diagonal.amax()
    with pytest.raises(InputError, match="at least one"):
        M.guess(b, cycles=0)


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
    flat = torch.ones(1, 2, 32, 32, dtype=torch.float64)
    flat[:, 1] = 1e9  # does not show in the diagonal
    assert Multigrid(Diffusion(flat, grid=(1.0, 1.0)), smoother="chebyshev").dtype == torch.float64


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
    for smoother, message in ((Line(2), "the axes 0 to 1"), (Line((0, 0)), "once at most")):
        with pytest.raises(InputError, match=message):
            Multigrid(Diffusion(torch.ones(16, 16, dtype=torch.float64), grid=1.0), smoother=smoother)
    with pytest.raises(InputError, match="lines run along"):
        Line(())
    with pytest.raises(InputError, match="degree of at least 1"):
        Line(0, degree=0)
    with pytest.raises(InputError, match="at least one step"):
        RedBlack(0)
    with pytest.raises(InputError, match="at least one step"):
        L1Jacobi(0)
    periodic = Diffusion(torch.ones(22, 22, dtype=torch.float64), grid=1.0, boundary="periodic")
    with pytest.raises(InputError, match="halves more often"):
        Multigrid(periodic, coarsening="galerkin")


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


@pytest.mark.parametrize("reaction", [1e3, 1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("n", [50, 100])
def test_a_step_of_the_heat_equation_is_solved_however_long(n, reaction, generator):
    """What a small reaction alone holds is lost in single precision."""
    k = torch.randn(n, n, generator=generator, dtype=torch.float64).mul(0.5).exp()
    A = Diffusion(k, (1 / n, 1 / n), "neumann", reaction)
    b = torch.rand(n, n, generator=generator, dtype=torch.float64)
    found = cg(A, b, M=Multigrid(A))
    assert found.converged and int(found.iterations) <= 9
    if reaction <= 1e-2:
        assert Multigrid(A).dtype == torch.float64


@pytest.mark.parametrize("space", [(50, 50), (30, 41), (36, 36, 18)])
def test_periodic_grids_that_come_to_odd_ones(space, generator):
    k = torch.randn(space, generator=generator, dtype=torch.float64).exp()
    A = Diffusion(k, [0.1] * len(space), "periodic", 1.0)
    M = Multigrid(A)
    assert M.coarsening == "sums"
    found = cg(A, torch.randn(space, generator=generator, dtype=torch.float64), M=M)
    assert found.converged and int(found.iterations) <= 40
