"""What every kernel must do, as functions of an example: the suites for processors and for GPUs share them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from kernel_examples import Draw, Example
from torch import Tensor

from sciops.kernels.dispatch import KERNELS, Kernel, PathName, use

HALVES = {torch.float16: 2e-2, torch.bfloat16: 2e-2}


def kernel_of(example: Example) -> Kernel:
    return KERNELS[example.kernel]


def arguments(
    example: Example,
    seed: int,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
    *,
    small: bool = False,
    gradients: bool = False,
) -> list[Any]:
    draw = Draw(torch.Generator().manual_seed(seed), dtype, device, small)
    args = list(example.make(draw))
    if gradients:
        for place in differentiable(example, args):
            args[place] = args[place].detach().requires_grad_()
    return args


def differentiable(example: Example, args: Sequence[Any]) -> list[int]:
    """Positions of the arguments that have derivatives."""
    return [i for i, a in enumerate(args) if _is_floating(a) and i not in example.constant]


def tolerance(example: Example, dtype: torch.dtype) -> float:
    return {torch.float32: example.single, torch.float64: example.double, **HALVES}[dtype]


def check_path(example: Example, path: PathName, dtype: torch.dtype, seed: int, device: str = "cpu") -> None:
    """Values and derivatives of a path agree with the float64 reference on the same, rounded, arguments."""
    kernel = kernel_of(example)
    args = arguments(example, seed, dtype, device)
    exact = [a.to("cpu", torch.float64) if _is_floating(a) else a for a in args]
    exact = [a.cpu().clone() if isinstance(a, Tensor) else a for a in exact]
    wanted = [] if kernel.mutates else differentiable(example, args)
    for place in wanted:
        args[place] = args[place].detach().requires_grad_()
        exact[place].requires_grad_()
    with use(path):
        found = tensors(kernel(*args))
    with use("reference"):
        expected = tensors(kernel(*exact))
    limit = tolerance(example, dtype)
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        require_close(a, b, limit, f"output {i}")
    if kernel.mutates:
        for i, (a, b) in enumerate(zip(args, exact, strict=True)):
            if isinstance(a, Tensor):
                require_close(a, b, limit, f"argument {i} after the call")
        return
    pairs = [(a, b) for a, b in zip(found, expected, strict=True) if b.requires_grad]
    if not pairs:
        return
    draw = Draw(torch.Generator().manual_seed(seed + 1))
    # of one sign: where one number goes to all samples, their sum would now and then vanish but for rounding
    cotangents = [draw.uniform(*b.shape).to(dtype) for _, b in pairs]
    with use(path):
        slopes = torch.autograd.grad(
            [a for a, _ in pairs], [args[i] for i in wanted], [c.to(device) for c in cotangents], allow_unused=True
        )
    references = torch.autograd.grad(
        [b for _, b in pairs], [exact[i] for i in wanted], [c.double() for c in cotangents], allow_unused=True
    )
    for place, a, b in zip(wanted, slopes, references, strict=True):
        if b is not None and a is not None:
            # a derivative sums products: it loses a few more digits than the value
            require_close(a, b, 4 * limit, f"derivative in argument {place}")
        else:
            assert _vanishes(a) and _vanishes(b), f"derivative in argument {place} is missing"


def check_opcheck(example: Example, seed: int, device: str = "cpu") -> None:
    kernel = kernel_of(example)
    args = arguments(example, seed, device=device, small=True, gradients=not kernel.mutates)
    torch.library.opcheck(kernel.op, tuple(args))


def check_gradients(example: Example, seed: int, device: str = "cpu") -> None:
    args = arguments(example, seed, device=device, small=True)
    places = differentiable(example, args)
    function = _of_places(kernel_of(example), args, places)
    leaves = [args[i].detach().requires_grad_() for i in places]
    assert torch.autograd.gradcheck(function, leaves)
    if example.twice:
        assert torch.autograd.gradgradcheck(function, leaves)


def check_transforms(example: Example, seed: int) -> None:
    """jvp against differences, jacrev and hessian against reverse mode, vmap against a loop."""
    args = arguments(example, seed, small=True)
    places = differentiable(example, args)
    function = _of_places(kernel_of(example), args, places)
    points = tuple(args[i] for i in places)
    draw = Draw(torch.Generator().manual_seed(seed + 1))
    tangents = tuple(draw.normal(*p.shape) for p in points)

    def scalar(*tensors: Tensor) -> Tensor:
        outputs = function(*tensors)
        return torch.stack([(o * torch.linspace(1, 2, o.numel()).to(o).view_as(o)).sum() for o in outputs]).sum()

    _, slope = torch.func.jvp(scalar, points, tangents)
    if example.smooth:
        h = 1e-6
        above, below = (scalar(*(p + s * h * t for p, t in zip(points, tangents, strict=True))) for s in (1, -1))
        difference = (above - below) / (2 * h)
        assert torch.allclose(slope, difference, rtol=1e-5, atol=1e-6), (slope, difference)
    everywhere = tuple(range(len(points)))
    leaves = [p.detach().requires_grad_() for p in points]
    reverse = torch.autograd.grad(scalar(*leaves), leaves, allow_unused=True, create_graph=True)
    for a, b in zip(torch.func.jacrev(scalar, everywhere)(*points), reverse, strict=True):
        require_close(a, torch.zeros_like(a) if b is None else b, 1e-10, "jacrev")
    if example.twice:
        inner = sum(
            ((g * t).sum() for g, t in zip(reverse, tangents, strict=True) if g is not None), start=torch.zeros(())
        )
        products = (
            torch.autograd.grad(inner, leaves, allow_unused=True) if inner.requires_grad else [None] * len(leaves)
        )
        blocks = torch.func.hessian(scalar, everywhere)(*points)
        for i, product in enumerate(products):
            full = torch.zeros_like(points[i])
            for j, tangent in enumerate(tangents):
                full = full + (blocks[i][j] * tangent).flatten(points[i].ndim).sum(-1).view_as(full)
            require_close(full, torch.zeros_like(full) if product is None else product, 1e-9, "hessian")
    stacked = tuple(torch.stack([p, 2 * p, -p]) for p in points)
    together = torch.vmap(function)(*stacked)
    for i in range(3):
        alone = function(*(s[i] for s in stacked))
        for a, b in zip(together, alone, strict=True):
            require_close(a[i], b, 1e-10, "vmap")
    direct = torch.vmap(lambda *t: _of_places(kernel_of(example).op, args, places)(*t))(*stacked)
    for a, b in zip(direct, together, strict=True):
        require_close(a, b, 1e-10, "vmap of the operator")


def check_compile(example: Example, seed: int, backend: str = "aot_eager", device: str = "cpu") -> None:
    torch._dynamo.reset()  # every example is a graph of its own, and a process keeps only a few of one function
    kernel = kernel_of(example)
    args = arguments(example, seed, device=device, small=True)
    if kernel.mutates:
        ours, theirs = ([a.clone() if isinstance(a, Tensor) else a for a in args] for _ in range(2))
        a, b = torch.compile(kernel, fullgraph=True, backend=backend)(*ours), kernel(*theirs)
        pairs = [*zip(tensors(a), tensors(b), strict=True), *zip(ours, theirs, strict=True)]
        for found, expected in pairs:
            if isinstance(found, Tensor):
                require_close(found, expected, 1e-10, "compiled")
        return
    places = differentiable(example, args)
    function = _of_places(kernel, args, places)
    results = []
    for run in (function, torch.compile(function, fullgraph=True, backend=backend)):
        leaves = [args[i].detach().requires_grad_() for i in places]
        outputs = run(*leaves)
        total = sum((o.square().sum() for o in outputs if o.requires_grad), start=torch.zeros((), device=device))
        slopes = torch.autograd.grad(total, leaves, allow_unused=True) if total.requires_grad else []
        results.append([*outputs, *slopes])
    for a, b in zip(*results, strict=True):
        if a is None or b is None:
            assert _vanishes(a) and _vanishes(b)
        else:
            require_close(a, b, 1e-10, "compiled")


def check_export(example: Example, seed: int) -> None:
    kernel = kernel_of(example)
    args = arguments(example, seed, small=True)
    places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]

    class Module(torch.nn.Module):
        def forward(self, *given: Tensor) -> Any:
            return _call(kernel, args, places, given)

    given = tuple(args[i] for i in places)
    program = torch.export.export(Module(), tuple(g.clone() for g in given))
    names = {str(node.target) for node in program.graph.nodes}
    assert any(f"sciops.{example.kernel}" in name for name in names) or kernel.mutates, names
    ours, theirs = (tuple(g.clone() for g in given) for _ in range(2))
    for a, b in zip(tensors(program.module()(*ours)), tensors(_call(kernel, args, places, theirs)), strict=True):
        require_close(a, b, 1e-10, "exported")


def check_autocast(example: Example, seed: int, device: str = "cpu") -> None:
    """Under autocast the kernel computes in its own dtype, and agrees to that dtype's precision."""
    kernel = kernel_of(example)
    args = arguments(example, seed, torch.float32, device)
    exact = [a.double() if _is_floating(a) else a for a in args]
    with torch.autocast(device, torch.bfloat16):
        found = tensors(kernel(*args))
    expected = tensors(kernel(*exact))
    lower = kernel.autocast == "lower"
    for a, b in zip(found, expected, strict=True):
        if a.is_floating_point():
            assert a.dtype == (torch.bfloat16 if lower else torch.float32)
        require_close(a, b, 2e-2 if lower else example.single, "autocast")


def tensors(outputs: Any) -> tuple[Tensor, ...]:
    if outputs is None:
        return ()
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def require_close(found: Tensor, expected: Tensor, limit: float, what: str) -> None:
    """Norm of the difference relative to the norm of what is expected; whole numbers agree exactly."""
    assert found.shape == expected.shape, f"{what}: shape {tuple(found.shape)}, expected {tuple(expected.shape)}"
    a, b = found.detach().cpu(), expected.detach().cpu()
    if not b.is_floating_point():
        assert torch.equal(a, b), f"{what}: {a.flatten()[:8].tolist()}, expected {b.flatten()[:8].tolist()}"
        return
    a, b = a.double(), b.double()
    assert torch.equal(a.isnan(), b.isnan()), f"{what}: NaN in other places"
    assert torch.equal(a * a.isinf(), b * b.isinf()) or a.isnan().any(), f"{what}: infinite in other places"
    a, b = a.nan_to_num(0, 0, 0), b.nan_to_num(0, 0, 0)
    error = float((a - b).norm() / b.norm().clamp_min(1e-30)) if b.norm() > 0 else float(a.norm())
    assert error <= limit, f"{what}: relative error {error:.1e}, allowed {limit:.0e}"


def _of_places(kernel: Callable[..., Any], args: Sequence[Any], places: Sequence[int]) -> Callable[..., Any]:
    """The floating outputs as a function of the arguments at the places."""

    def function(*given: Tensor) -> tuple[Tensor, ...]:
        outputs = tensors(_call(kernel, args, places, given))
        return tuple(o for o in outputs if o.is_floating_point())

    return function


def _call(kernel: Callable[..., Any], args: Sequence[Any], places: Sequence[int], given: Sequence[Tensor]) -> Any:
    full = list(args)
    for place, tensor in zip(places, given, strict=True):
        full[place] = tensor
    return kernel(*full)


def _is_floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _vanishes(value: Tensor | None) -> bool:
    return value is None or not value.any()
