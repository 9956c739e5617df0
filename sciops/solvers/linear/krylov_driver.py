"""The loop that all Krylov methods share: stop rules, true residuals, restarts, and what to say of a failure."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels import krylov
from sciops.solvers.linear.krylov_system import Run, Start, System, Vectors, norm
from sciops.solvers.linear.operator import LinearOperator
from sciops.solvers.linear.solution import REMEDIES, Outcome

_LOOK = {"cpu": 1}  # iterations between two looks at the status; elsewhere a look waits for the device
_LOOK_ELSEWHERE = 8
_LOOK_FOR = "look for the first one with .isfinite()"
_PROGRESS = 0.5  # of a run that ended above its goal, by which the true residual must have fallen to go on from there
_ASTRAY = 1e3  # by which a run may end above the residual it began with: the energy may fall all the same
_NULL = {
    torch.float64: 1e-11,
    torch.float32: 1e-5,
}  # |A' r| / |r| of a residual that counts as out of reach, diag A = 1


class Ended(NamedTuple):
    """How the systems ended."""

    status: Int[Tensor, " system"]
    iterations: Int[Tensor, " system"]
    residual: Float[Tensor, " system"]
    history: Float[Tensor, "iteration system"]
    evidence: Float[Tensor, " system"]
    detail: str


def iterate(
    start: Start, system: System, b: Vectors, x: Vectors, goal: Float[Tensor, " system"], maxiter: int, guessed: bool
) -> Ended:
    """Move x until every system has met its goal or cannot; x is 0 unless `guessed`.

    A goal is met by the true residual only. Where the recurrence of a method has met it and the true residual has not,
    the method starts again from x, as long as each such run halves the true residual.
    """
    r = system.residual(x, b) if guessed else b.clone()
    size = norm(r)
    status = torch.where(size <= goal, int(Outcome.CONVERGED), int(Outcome.RUNNING)).to(torch.int32)
    status.masked_fill_(~size.isfinite(), int(Outcome.NOT_FINITE))
    history, taken = [size], 0
    count = torch.zeros(len(b), dtype=torch.int64, device=b.device)
    evidence, detail = (
        torch.zeros_like(size),
        f"b - A x0 is not finite: there is a NaN or an infinity in x0 or A; {_LOOK_FOR}",
    )
    look = _LOOK.get(b.device.type, _LOOK_ELSEWHERE)
    while taken < maxiter and bool((status == 0).any()):
        before, ran, back = size, status == 0, x.clone() if guessed or taken else None
        run = start(system, x, r, status, goal, maxiter - taken)
        for step in range(min(run.length or maxiter, maxiter - taken)):
            moving = status == 0
            estimate = run.step()
            taken += 1
            count += moving
            _mark(status, estimate, goal)
            history.append(torch.where(moving, estimate, history[-1]))
            if step % look == look - 1 and bool(status.all()):
                break
        run.finish()
        for code, value in run.evidence().items():
            evidence = torch.where(ran & (status == int(code)), value, evidence)
        if bool((status == int(Outcome.NOT_FINITE)).any()):
            detail = _culprit(run, status)
        r = run.r if run.exact else system.residual(x, b)
        size = torch.where(ran, norm(r), size)
        _judge(status, ran, size, before, goal, restarted=run.length is not None)
        # an iterate that went astray is no answer: what the run began with is better
        astray = ran & ~(size <= _ASTRAY * before)
        if bool(astray.any()):
            x.copy_(torch.where(astray[:, None], 0.0 if back is None else back, x))
            size = torch.where(astray, before, size)
            status.masked_fill_(astray & (status == 0), int(Outcome.STAGNATED))
    status.masked_fill_(status == 0, int(Outcome.MAXITER))
    failed = status != int(Outcome.CONVERGED)
    if bool(failed.any()):
        share = _out_of_reach(system, b, failed)
        evidence = torch.where(status == int(Outcome.STAGNATED), _rounding(system, b, x), evidence)
        found = failed & (share > goal / norm(b))
        status.masked_fill_(found, int(Outcome.INCONSISTENT))
        evidence = torch.where(found, share, evidence)
    return Ended(status, count, size, torch.stack(history), evidence, detail)


def describe(code: Outcome, ended: Ended, system: int, dtype: torch.dtype) -> str:
    """Why a system failed, and the remedy."""
    place = f" at iteration {int(ended.iterations[system])} in system {system}"
    value = float(ended.evidence[system])
    if code is Outcome.STAGNATED and value < 0.01 * float(ended.residual[system]):
        return f"the residual does not fall any more{place}; use a better M, another method, or a larger restart"
    detail = str(dtype).removeprefix("torch.") if code is Outcome.STAGNATED else ended.detail
    return REMEDIES[code].format(value=value, place=place, detail=detail)


def _mark(status: Tensor, estimate: Tensor, goal: Tensor) -> None:
    """CONVERGED where the method says so, also where its last step ended in a break-down."""
    harmless = (status == 0) | (status == int(Outcome.EXHAUSTED)) | (status == int(Outcome.BREAKDOWN))
    status.masked_fill_(harmless & (estimate <= goal), int(Outcome.CONVERGED))


def _judge(
    status: Tensor, ran: Bool[Tensor, " system"], size: Tensor, before: Tensor, goal: Tensor, *, restarted: bool
) -> None:
    """The status after a run, by the true residual."""
    claimed = status == int(Outcome.CONVERGED)
    broken = (status == int(Outcome.EXHAUSTED)) | (status == int(Outcome.BREAKDOWN))
    open_ = ran & (claimed | broken | (status == 0))
    met = open_ & (size <= goal)
    missed = open_ & ~met
    better = size <= _PROGRESS * before
    # a run that ended by its length goes on unless it gained nothing at all
    still = (status == 0) & ((size < (1 - 1e-8) * before) if restarted else torch.ones_like(ran))
    code = status.clone()
    code = torch.where(missed & claimed, int(Outcome.STAGNATED), code)
    code = torch.where(missed & (status == 0) & ~still, int(Outcome.STAGNATED), code)
    code = torch.where(missed & (claimed | broken) & better, 0, code)
    code = torch.where(met, int(Outcome.CONVERGED), code)
    code = torch.where(ran & ~size.isfinite(), int(Outcome.NOT_FINITE), code)
    status.copy_(code)


def _culprit(run: Run, status: Tensor) -> str:
    """Who brought the first value that is not finite."""
    bad = status == int(Outcome.NOT_FINITE)
    if not bool(run.answer[bad].isfinite().all()):
        return f"the preconditioner M returned NaN or infinity; {_LOOK_FOR}"
    if not bool(run.image[bad].isfinite().all()):
        return f"the product with A has NaN or infinity; {_LOOK_FOR}"
    return "the method diverged until its numbers overflowed; use gmres, or a better M"


def _out_of_reach(system: System, b: Tensor, failed: Tensor) -> Tensor:
    """The share of b that no x can produce, as far as it shows; 0 where A is not singular or b is in its range.

    With S A S of unit diagonal, so that a jump of the coefficients is not taken for a null space, conjugate gradients
    on the normal equations, which are always consistent, leave the residual r of the least squares. If A' S r = 0, then
    v = S r is a field that A' takes to zero, and <v, b> / |v| is out of reach. At most 600 products with A or A', spent
    on failures only.
    """
    A = system.A
    scale = _unit_scale(A, b)
    plain, adjoint = System(A, None, system.shape), System(A.T, None, system.shape)

    def forward(v: Tensor) -> Tensor:
        return scale * plain.apply(scale * v)

    def backward(v: Tensor) -> Tensor:
        return scale * adjoint.apply(scale * v)

    r = torch.where(failed[:, None], scale * b, 0.0)
    x, s = torch.zeros_like(r), backward(r)
    state = torch.where(failed, 0, 1).to(torch.int32)
    p, size = torch.zeros_like(s), torch.ones_like(norm(s))
    tolerance = _NULL[b.dtype]
    for _ in range(min(200, 2 * b.shape[1])):
        state.masked_fill_((state == 0) & (norm(s) <= tolerance * norm(r)), 1)
        if bool(state.all()):
            break
        size = krylov.cg_direction_(p, s, s, size, state)
        image = forward(p)
        # r and s = A' r move by the same step, <s, s> / <A p, A p>
        krylov.cg_update_(x, s, p, backward(image), size, state, krylov.dot(image, image))
        r = torch.where((state <= 1)[:, None], scale * b - forward(x), r)
    system.applied += plain.applied + adjoint.applied
    v, whole = scale * r, norm(b)
    null = failed & (norm(backward(r)) <= tolerance * norm(r))
    share = krylov.dot(v, b).abs() / (norm(v) * whole).clamp_min(torch.finfo(torch.float64).tiny)
    return torch.where(null & share.isfinite(), share, 0.0)


def _rounding(system: System, b: Tensor, x: Tensor) -> Tensor:
    """What the rounding of x alone leaves of the relative residual, about eps |A| |x| / |b|."""
    probe = torch.randn(b.shape, generator=torch.Generator().manual_seed(0), dtype=b.dtype).to(b.device)
    largest = norm(system.apply(probe)) / norm(probe)
    return torch.finfo(b.dtype).eps * largest * norm(x) / norm(b)


def _unit_scale(A: LinearOperator, b: Tensor) -> Tensor:
    """1 / sqrt(abs(diagonal)) for each system, 1 where it is 0 or not known."""
    try:
        diagonal = A.diagonal().detach().abs()
    except InputError:
        return torch.ones_like(b)
    ones = torch.where((diagonal > 0) & diagonal.isfinite(), diagonal, 1.0).rsqrt()
    systems = len(b) // A.batch
    return ones.reshape(A.batch, 1, -1).expand(-1, systems, -1).reshape(b.shape).contiguous()
