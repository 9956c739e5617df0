"""`train`: a family of operators in, a trained preconditioner out."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from numbers import Real
from typing import TypeVar, overload

import torch
from torch import Tensor, nn

from sciops.errors import InputError, TrainingError
from sciops.preconditioners.base import LearnedPreconditioner, OperatorFamily, TrainingRecord
from sciops.preconditioners.multigrid import LearnedMultigrid
from sciops.solvers.linear import LinearOperator
from sciops.training.progress import ProgressLine

_MEMORY = 0.95  # of the running mean of the loss
_SETTLED = 20  # steps after which the running mean tells something
_LAST_RATE = 0.01  # of the learning rate, at the end


Model = TypeVar("Model", bound=LearnedPreconditioner)


@overload
def train(
    family: OperatorFamily,
    model: Model,
    *,
    minutes: float = ...,
    steps: int | None = ...,
    learning_rate: float = ...,
    seed: int = ...,
    threads: int | None = ...,
    progress: bool = ...,
) -> Model: ...
@overload
def train(
    family: OperatorFamily,
    model: None = None,
    *,
    minutes: float = ...,
    steps: int | None = ...,
    learning_rate: float = ...,
    seed: int = ...,
    threads: int | None = ...,
    progress: bool = ...,
) -> LearnedMultigrid: ...
def train(
    family: OperatorFamily,
    model: LearnedPreconditioner | None = None,
    *,
    minutes: float = 10.0,
    steps: int | None = None,
    learning_rate: float = 3e-3,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = True,
) -> LearnedPreconditioner:
    """Train a preconditioner on operators drawn anew for every step.

    Adam with a learning rate that falls along half a cosine to a hundredth, and gradients clipped to norm 1. The
    weights that are kept are those with the smallest running mean of the loss. A training is not resumed: a model that
    was trained before begins with its weights, and with a new optimiser, learning rate and record.

    Parameters
    ----------
    family
        What draws operators, such as those of :mod:`sciops.preconditioners.families`, or a function of your own:
        ``family(generator)`` gives a LinearOperator, or a batch of them.
    model
        A learned preconditioner; it is trained in place, where its weights lie. None is a
        :class:`~sciops.preconditioners.LearnedMultigrid` with as many axes as the operators have.
    minutes, steps
        Training ends with whichever is over first; the first step, which compiles, does not count. With `steps` the
        learning rate follows the steps, and the weights depend on the arguments alone as long as the minutes suffice;
        without, it follows the time.
    learning_rate
        The highest.
    seed
        Of operators and right-hand sides. (The model comes with its weights.)
    threads
        Of the processor, while training; None leaves them as they are.
    progress
        Whether to show the progress bar.

    Returns
    -------
    LearnedPreconditioner
        The model, in evaluation mode, with its `record`.

    Raises
    ------
    TrainingError
        For a loss that is not finite; the model has the best weights so far.
    InputError
        For an argument out of range.
    KeyboardInterrupt
        On Ctrl-C; the model has the best weights so far.

    Examples
    --------
    >>> from sciops.preconditioners import NeuralPreconditioner, families
    >>> model = NeuralPreconditioner(torch.nn.Conv2d(5, 2, 3, padding=1))
    >>> model = train(families.lognormal(16, 16), model, steps=3, progress=False)
    >>> model.record.steps, model.record.family
    (3, 'DiffusionFamily(lognormal, 16x16, batch=4, dirichlet)')
    """
    for name, value in (("minutes", minutes), ("learning_rate", learning_rate)):
        if not (isinstance(value, Real) and 0 < value < math.inf):
            raise InputError(f"{name} = {value!r}, expected a positive number")
    for name, count in (("steps", steps), ("threads", threads)):
        if count is not None and not (isinstance(count, int) and count >= 1):
            raise InputError(f"{name} = {count!r}, expected a whole number of at least 1")
    if not callable(family):
        raise InputError(f"the family is a {type(family).__name__}, expected a function of a generator")
    if not isinstance(model, LearnedPreconditioner | None):
        raise InputError(f"the model is {model!r}, expected a LearnedPreconditioner or None")
    if model is None:
        model = LearnedMultigrid(len(_drawn(family, torch.Generator().manual_seed(seed)).space))
    weights = [p for p in model.parameters() if p.requires_grad]
    if not weights:
        raise InputError(f"{type(model).__name__} has no weights to train")
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(weights, lr=learning_rate)
    kept, best_step, losses = _copied(model), 0, list[float]()
    mean, smallest = 0.0, math.inf
    began = first_ended = time.monotonic()
    line = ProgressLine(steps or 1, after="loss {loss}  step {step}", counted=steps is not None) if progress else None

    def passed() -> float:
        return (time.monotonic() - first_ended) / (60 * minutes)

    def finish() -> None:
        model.load_state_dict(kept)
        model.eval()
        seconds = time.monotonic() - began
        model.record = TrainingRecord(
            _words(family), seconds, len(losses), best_step, seed, learning_rate, tuple(losses)
        )

    model.train()
    with _threads(threads), contextlib.ExitStack() as stack:
        if line is not None:
            line.start()
            stack.callback(line.stop)
        try:
            while passed() < 1 and (steps is None or len(losses) < steps):
                share = passed() if steps is None else len(losses) / steps
                rate = learning_rate * (_LAST_RATE + (1 - _LAST_RATE) * (1 + math.cos(math.pi * share)) / 2)
                losses.append(_step(model, family, generator, optimiser, weights, rate, len(losses)))
                if len(losses) == 1:
                    first_ended = time.monotonic()  # what the first step compiles is no training
                mean = _MEMORY * mean + (1 - _MEMORY) * losses[-1]
                running = mean / (1 - _MEMORY ** len(losses))
                if len(losses) <= _SETTLED or running < smallest:
                    smallest = running
                    kept, best_step = _copied(model), len(losses)
                last = len(losses) == steps or passed() >= 1
                if line is not None and (last or line.due):
                    share = passed() if steps is None else len(losses)
                    line.update(share, loss=f"{running:.4g}", step=str(len(losses)))
        except KeyboardInterrupt:
            finish()
            raise KeyboardInterrupt(f"training stopped at step {len(losses)}; the model has the best weights") from None
        except TrainingError:
            finish()
            raise
    finish()
    return model


def _drawn(family: OperatorFamily, generator: torch.Generator) -> LinearOperator:
    A = family(generator)
    if not isinstance(A, LinearOperator):
        raise InputError(f"the family drew a {type(A).__name__}, expected a LinearOperator or a batch of them")
    return A


def _step(
    model: LearnedPreconditioner,
    family: OperatorFamily,
    generator: torch.Generator,
    optimiser: torch.optim.Optimizer,
    weights: list[nn.Parameter],
    rate: float,
    number: int,
) -> float:
    """One step; its loss."""
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad(set_to_none=True)
    loss = model.loss(_drawn(family, generator), generator)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = float(nn.utils.clip_grad_norm_(weights, 1.0))
    value = float(loss.detach())
    if not (math.isfinite(value) and math.isfinite(norm)):
        raise TrainingError(
            f"the loss is {value:g} and its gradient norm {norm:g} at step {number}, learning rate {rate:.3g}; train "
            f"again with a lower learning_rate, or operators of less contrast"
        )
    optimiser.step()
    return value


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _words(family: OperatorFamily) -> str:
    """What it was trained on: the name of a function, what an object says of itself."""
    return str(getattr(family, "__qualname__", None) or repr(family))


@contextlib.contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
