"""One mechanism for every kernel: a custom operator, its implementations, and the choice between them.

A kernel is one map with one plain reference in torch and up to two quick implementations, named by *paths*:

- ``"reference"``: plain torch; any device and dtype, differentiable to any order, what the others are tested against.
- ``"cpu"``: compiled or fused for a processor.
- ``"triton"``: compiled for CUDA by Triton; with ``TRITON_INTERPRET=1`` it also runs on a processor, slowly.

The quickest path that takes the arguments runs. The environment variable ``SCIOPS_KERNELS`` ("reference", or
"stencil=reference,krylov=cpu") and :func:`use` force one, :func:`info` tells which path runs where, and why.

Every kernel is registered with torch.library, so torch.compile and torch.export see one operator. Function transforms
(torch.func) and forward-mode derivatives take the reference: a custom operator knows nothing of either.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from sciops.errors import InputError, did_you_mean

PathName = Literal["reference", "cpu", "triton"]
PATHS: tuple[PathName, ...] = ("reference", "cpu", "triton")
SINGLE_AND_DOUBLE = (torch.float32, torch.float64)
ALL_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_PLAIN = (Tensor, torch.nn.Parameter)
_HALVES = (torch.float16, torch.bfloat16)
_VARIABLE = "SCIOPS_KERNELS"

KERNELS: dict[str, Kernel] = {}
_forced: dict[str, PathName] = {}  # family, or "" for every family, to path


@dataclass(frozen=True)
class Path:
    """A quick implementation of a kernel, imported when it is first used.

    Parameters
    ----------
    function
        Where it stands, as "module:name" below ``sciops.kernels``. It takes the arguments of the reference, tensors
        contiguous, and returns new contiguous tensors.
    why
        One line for :func:`info`: what makes it quicker than the reference.
    needs
        The library it is written with, "" for torch alone.
    dtypes
        The dtypes it takes; arguments of half precision that it does not take are computed in float32 and rounded.
    takes
        From the arguments to None, or to the reason why they are left to the reference.
    """

    function: str
    why: str
    needs: str = ""
    dtypes: tuple[torch.dtype, ...] = SINGLE_AND_DOUBLE
    takes: Callable[..., str | None] | None = None

    def load(self) -> Callable[..., Any]:
        module, name = self.function.split(":")
        return _implementation(module, name)

    def missing(self) -> str | None:
        """Why it cannot run on this machine, or None."""
        return f"{self.needs} is not installed" if self.needs and not _is_installed(self.needs) else None


_WHOLE = ("status", "pivots")  # the arguments that hold whole numbers


class Kernel:
    """A tensor function as a custom operator ``torch.ops.sciops.<name>`` with several implementations.

    Parameters
    ----------
    name
        The name of the operator.
    schema
        Its signature in the notation of torch.library, ``(Tensor x, SymInt[] sizes) -> Tensor``; all arguments are
        positional.
    reference
        The map in plain torch operators, differentiable, for any device and for symbolic sizes.
    cpu, triton
        The quick implementations, if any.
    setup, backward
        What ``torch.library.register_autograd`` takes. When None, the derivative is that of the reference, computed
        again in the backward pass, and can be differentiated in turn.
    autocast
        The dtype under autocast: "float32", or "lower" for that of the autocast region.
    keeps_strides
        Whether the implementations take tensors with any strides; else they are made contiguous first.
    mixed
        Whether floating tensors of different dtypes belong together; else a call with them is refused.

    Notes
    -----
    An operator whose schema marks arguments as written to (``Tensor(a!) x``) has no derivative.
    """

    def __init__(
        self,
        name: str,
        schema: str,
        reference: Callable[..., Any],
        *,
        cpu: Path | None = None,
        triton: Path | None = None,
        setup: Callable[..., None] | None = None,
        backward: Callable[..., Any] | None = None,
        autocast: Literal["float32", "lower"] = "float32",
        keeps_strides: bool = False,
        mixed: bool = False,
    ) -> None:
        self.name, self.reference = name, reference
        self.family = reference.__module__.rsplit(".", 1)[-1]
        self.paths: dict[PathName, Path] = {}
        if cpu is not None:
            self.paths["cpu"] = cpu
        if triton is not None:
            self.paths["triton"] = triton
        self.autocast, self.mixed = autocast, mixed
        self.arguments = tuple(part.split("=")[0].split()[-1] for part in schema.split("->")[0].strip("() ").split(","))
        self._keeps_strides = keeps_strides
        written = tuple(
            part.split()[-1] for part in schema.split("->")[0].strip("() ").split(",") if "!" in part.split()[0]
        )
        self.mutates = written
        custom = torch.library.custom_op(f"sciops::{name}", self._run, mutates_args=written, schema=schema)
        custom.register_fake(self._fake)
        if not written:
            custom.register_autograd(backward or self._backward, setup_context=setup or self._setup)
            custom.register_vmap(self._vmap)
        self.op = getattr(torch.ops.sciops, name).default
        for device in ("cpu", "cuda"):
            lowest = torch.float32 if autocast == "float32" else torch.bfloat16
            torch.library.register_autocast(custom, device, lowest)
        self._custom = custom  # keeps the registration alive
        KERNELS[name] = self

    def __repr__(self) -> str:
        return f"Kernel({self.name}: {', '.join(('reference', *self.paths))})"

    def __call__(self, *args: Any) -> Any:
        device = self._require_alike(args)
        if _is_plain(args):
            return self._run(*args)
        call = self.reference if _is_transformed(args) else self.op
        if not _is_autocast(device):
            return call(*args)
        dtype = torch.get_autocast_dtype(device) if self.autocast == "lower" else torch.float32
        with torch.autocast(device, enabled=False):
            return call(*(_cast(a, dtype, (*_HALVES, torch.float32)) for a in args))

    def _require_alike(self, args: tuple[Any, ...]) -> str:
        """The type of the device of all tensors; InputError unless they share it and are real numbers of one dtype."""
        device, dtype = None, None
        for name, a in zip(self.arguments, args, strict=False):
            if not isinstance(a, Tensor):
                continue
            if device is None:
                device = a.device
            elif a.device != device:
                raise InputError(f"{self.name}: {self._told(args, 'device')}; move all to one device")
            if not a.dtype.is_floating_point:
                if a.dtype.is_complex or name not in _WHOLE:
                    told = self._told(args, "dtype")
                    raise InputError(f"{self.name}: {told}; real floating-point tensors are expected")
            elif dtype is None:
                dtype = a.dtype
            elif a.dtype != dtype and not self.mixed and not _is_autocast(device.type):
                raise InputError(f"{self.name}: {self._told(args, 'dtype')}; convert all to one dtype")
        if device is None or dtype is None:
            raise InputError(f"{self.name}: {self._told(args, 'dtype')}; real floating-point tensors are expected")
        return device.type

    def _told(self, args: tuple[Any, ...], what: str) -> str:
        pairs = zip(self.arguments, args, strict=False)
        return ", ".join(f"{name} is {getattr(a, what)}" for name, a in pairs if isinstance(a, Tensor)) or "no tensor"

    def choose(self, *args: Any) -> tuple[PathName, str]:
        """The path that takes these arguments, and why.

        Raises
        ------
        InputError
            If a path is forced that exists but does not take them.
        """
        first = next(a for a in args if isinstance(a, Tensor))
        forced = _forced.get(self.family, _forced.get(""))
        wanted: PathName | None = forced or {"cpu": "cpu", "cuda": "triton"}.get(first.device.type)  # type: ignore[assignment]
        where = f"on {first.device.type}"
        if wanted is None or wanted == "reference":
            return "reference", "forced" if forced else f"there is no other path {where}"
        path = self.paths.get(wanted)
        if path is None:
            return "reference", f"no {wanted} path"
        reason = self._refusal(wanted, path, first, args)
        if reason is None:
            return wanted, "forced" if forced else path.why
        if forced:
            raise InputError(f"kernel {self.name}: the path {forced!r} is forced, but {reason}")
        return "reference", reason

    def _refusal(self, name: PathName, path: Path, first: Tensor, args: tuple[Any, ...]) -> str | None:
        reason = path.missing()
        if reason:
            return reason
        if name == "triton" and first.device.type == "cpu" and not _triton_runs_on_cpu():
            return "the tensors are on the cpu; set TRITON_INTERPRET=1 before Python starts to run it there"
        if name == "cpu" and first.device.type != "cpu":
            return f"the tensors are on {first.device.type}"
        dtypes = {a.dtype for a in args if isinstance(a, Tensor) and a.dtype.is_floating_point}
        unfit = [d for d in dtypes if d not in path.dtypes and (self.mutates or d not in _HALVES)]
        if unfit:
            return f"it does not take {unfit[0]}"
        return path.takes(*args) if path.takes else None

    def _run(self, *args: Any) -> Any:
        name, _ = self.choose(*args)
        if not self._keeps_strides and not self.mutates:
            args = tuple(a.contiguous() if isinstance(a, Tensor) else a for a in args)
        if name == "reference":
            return _map_outputs(functools.partial(_fresh, args), self._evaluate(self.reference, args, ALL_FLOATS))
        path = self.paths[name]
        return self._evaluate(path.load(), args, path.dtypes)

    def _evaluate(self, run: Callable[..., Any], args: tuple[Any, ...], dtypes: tuple[torch.dtype, ...]) -> Any:
        # a processor computes in single precision what is stored in half: its half arithmetic is slower and coarser
        floats = {a.dtype for a in args if isinstance(a, Tensor) and a.dtype.is_floating_point}
        half = next((d for d in floats if d in _HALVES), None)
        on_cpu = any(isinstance(a, Tensor) and a.device.type == "cpu" for a in args)
        if half is None or self.mutates or (half in dtypes and (not on_cpu or _is_triton(run))):
            return run(*args)
        if len(floats) > 1:  # the dtypes of the results are then not one: those of the reference hold
            return self.reference(*args)
        outputs = run(*(_cast(a, torch.float32, _HALVES) for a in args))
        return _map_outputs(lambda t: _cast(t, half, (torch.float32,)), outputs)

    def _fake(self, *args: Any) -> Any:
        return _map_outputs(lambda t: torch.empty_like(t, memory_format=torch.contiguous_format), self.reference(*args))

    @staticmethod
    def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.places = [i for i, a in enumerate(inputs) if isinstance(a, Tensor)]
        ctx.others = [None if isinstance(a, Tensor) else a for a in inputs]
        ctx.save_for_backward(*(inputs[i] for i in ctx.places))

    def _backward(self, ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        return vector_jacobian(self.reference, saved_arguments(ctx), ctx.needs_input_grad, gradients)

    def _vmap(self, info: Any, in_dims: Sequence[Any], *args: Any) -> tuple[Any, Any]:
        rows = [
            self.op(*(a.select(d, i) if isinstance(d, int) else a for a, d in zip(args, in_dims, strict=True)))
            for i in range(info.batch_size)
        ]
        if isinstance(rows[0], Tensor):
            return torch.stack(rows), 0
        return tuple(torch.stack(column) for column in zip(*rows, strict=True)), (0,) * len(rows[0])


def saved_arguments(ctx: Any) -> list[Any]:
    """The arguments of a kernel as its default set-up kept them for the backward pass."""
    args = list(ctx.others)
    for place, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
        args[place] = tensor
    return args


def vector_jacobian(
    function: Callable[..., Any], args: Sequence[Any], wanted: Sequence[bool], gradients: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """The products of the gradients with the Jacobian of a plain function, one for each wanted argument.

    Differentiable in turn. A gradient that is None counts as zero.

    Examples
    --------
    >>> x = torch.tensor([1.0, 2.0])
    >>> vector_jacobian(torch.mul, [x, x], [True, False], [torch.ones(2)])
    (tensor([1., 2.]), None)
    """
    places = [i for i, want in enumerate(wanted) if want and isinstance(args[i], Tensor)]

    def of_wanted(*tensors: Tensor) -> tuple[Tensor, ...]:
        full = list(args)
        for place, tensor in zip(places, tensors, strict=True):
            full[place] = tensor
        outputs = function(*full)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        smooth[:] = [o.is_floating_point() for o in outputs]  # whole numbers have no derivative
        return tuple(o for o in outputs if o.is_floating_point())

    smooth: list[bool] = []
    outputs: tuple[Tensor, ...]
    outputs, pull = torch.func.vjp(of_wanted, *(args[i] for i in places))  # type: ignore[misc]
    given = [gradient for gradient, counts in zip(gradients, smooth, strict=True) if counts]
    cotangents = tuple(torch.zeros_like(o) if g is None else g for o, g in zip(outputs, given, strict=True))
    found: list[Tensor | None] = [None] * len(args)
    for place, gradient in zip(places, pull(cotangents), strict=True):
        found[place] = gradient
    return tuple(found)


@contextmanager
def use(path: PathName, *families: str) -> Iterator[None]:
    """Force a path for all kernels, or for those of some families, while the context lasts.

    A kernel that has no such path runs its reference; one that has it but cannot take its arguments there raises.

    Parameters
    ----------
    path
        "reference", "cpu" or "triton".
    families
        Names as in :func:`info`; all when none is given.

    Raises
    ------
    InputError
        For an unknown path or family.

    Notes
    -----
    The choice holds for the whole process, other threads included: autograd runs in threads of its own.

    Examples
    --------
    >>> from sciops import kernels
    >>> with kernels.use("reference"):
    ...     y = kernels.fourier_coefficients(torch.ones(8), [2])
    """
    before = dict(_forced)
    _force({family: path for family in families or ("",)})
    try:
        yield
    finally:
        _forced.clear()
        _forced.update(before)


def _force(choices: dict[str, str]) -> None:
    known = sorted({kernel.family for kernel in KERNELS.values()})
    for family, path in choices.items():
        if path not in PATHS:
            raise InputError(f"unknown path {path!r} for kernels{did_you_mean(str(path), PATHS)}")
        if family and KERNELS and family not in known:
            raise InputError(f"unknown family of kernels {family!r}{did_you_mean(family, known)}")
    _forced.update(choices)  # type: ignore[arg-type]


def read_environment() -> None:
    """Force what ``SCIOPS_KERNELS`` says; called once, when all families are registered."""
    choices: dict[str, str] = {}
    for part in filter(None, os.environ.get(_VARIABLE, "").replace(" ", "").split(",")):
        family, _, path = part.rpartition("=")
        choices[family] = path
    try:
        _force(choices)
    except InputError as error:
        raise InputError(f"environment variable {_VARIABLE}: {error}") from None


@dataclass(frozen=True)
class Row:
    """Which path of a kernel runs on a device, and why."""

    family: str
    kernel: str
    device: str
    path: PathName
    reason: str


@dataclass(frozen=True)
class Info:
    """What :func:`info` returns; prints as a table."""

    machine: str
    rows: tuple[Row, ...]

    def __str__(self) -> str:
        cells = [("family", "kernel", "device", "path", "why")]
        cells += [(r.family, r.kernel, r.device, r.path, r.reason) for r in self.rows]
        widths = [max(len(row[i]) for row in cells) for i in range(4)]
        lines = ["  ".join((*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[4])) for row in cells]
        return "\n".join([self.machine, "", *lines])

    __repr__ = __str__


def info() -> Info:
    """Which path every kernel takes on a processor and on CUDA, and why.

    Returns
    -------
    Info
        Rows of family, kernel, device, path and reason; prints as a table.

    Examples
    --------
    >>> from sciops import kernels
    >>> "spectral" in {row.family for row in kernels.info().rows}
    True
    """
    rows = []
    for kernel in sorted(KERNELS.values(), key=lambda k: (k.family, k.name)):
        for device, wanted in (("cpu", "cpu"), ("cuda", "triton")):
            rows.append(Row(kernel.family, kernel.name, device, *_standing(kernel, wanted)))  # type: ignore[arg-type]
    return Info(_machine(), tuple(rows))


def _standing(kernel: Kernel, wanted: PathName) -> tuple[PathName, str]:
    forced = _forced.get(kernel.family, _forced.get(""))
    path = kernel.paths.get(forced or wanted)
    if forced == "reference" or path is None:
        return "reference", "forced" if forced == "reference" else f"no {forced or wanted} path"
    if forced and forced != wanted and not (forced == "triton" and _triton_runs_on_cpu()):
        return forced, "forced, and refused there"
    missing = path.missing()
    if missing:
        return (forced, f"forced, and refused: {missing}") if forced else ("reference", missing)
    return forced or wanted, "forced" if forced else path.why


def _machine() -> str:
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    versions = [f"torch {torch.__version__}"]
    for library in ("numba", "triton"):
        found = find_spec(library) is not None
        versions.append(f"{library} {importlib.metadata.version(library)}" if found else f"no {library}")
    forced = ", ".join(f"{family or 'all'}={path}" for family, path in _forced.items())
    parts = [*versions, f"{torch.get_num_threads()} threads", "CUDA: " + (", ".join(devices) or "none")]
    return "; ".join([*parts, f"forced: {forced}"] if forced else parts)


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:  # installed under another name, as builds of torch do
        return "of another distribution"


@functools.cache
def _is_installed(library: str) -> bool:
    return find_spec(library) is not None


@functools.cache
def _implementation(module: str, name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(importlib.import_module(f"sciops.kernels.{module}"), name)
    return function


def _is_plain(args: tuple[Any, ...]) -> bool:
    """Whether nothing watches: then going through the operator would only cost time (some 10 microseconds)."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() or forward_ad._current_level >= 0:
        return False
    grad = torch.is_grad_enabled()
    for a in args:
        if isinstance(a, Tensor) and (
            type(a) not in _PLAIN or (grad and a.requires_grad) or _is_autocast(a.device.type)
        ):
            return False
    return not torch._C._are_functorch_transforms_active()


def _is_autocast(device: str) -> bool:
    return device in ("cpu", "cuda") and torch.is_autocast_enabled(device)


def _is_transformed(args: tuple[Any, ...]) -> bool:
    """Whether the arguments are under torch.func or forward-mode derivatives, or of a type with its own rules."""
    return bool(
        torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or any(isinstance(a, Tensor) and is_traceable_wrapper_subclass(a) for a in args)
    )


def _is_triton(run: Callable[..., Any]) -> bool:
    return run.__module__.startswith("sciops.kernels.cuda")


def _triton_runs_on_cpu() -> bool:
    from sciops.kernels.cuda.launch import runs_on_cpu

    return runs_on_cpu()


def _cast(value: Any, dtype: torch.dtype, which: tuple[torch.dtype, ...]) -> Any:
    return value.to(dtype) if isinstance(value, Tensor) and value.dtype in which else value


def _map_outputs(function: Callable[[Tensor], Tensor], outputs: Any) -> Any:
    if outputs is None:
        return None
    return function(outputs) if isinstance(outputs, Tensor) else tuple(function(o) for o in outputs)


def _fresh(args: tuple[Any, ...], output: Tensor) -> Tensor:
    """The output, contiguous, and never an alias of an argument: an operator must return new tensors."""
    output = output.contiguous()
    storage = output.untyped_storage().data_ptr()
    shared = any(isinstance(a, Tensor) and a.untyped_storage().data_ptr() == storage for a in args)
    return output.clone() if shared and output.numel() else output
