"""A model between normalised tensors as an operator between physical fields, and how it is stepped in time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sciops.errors import InputError

Step = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How an evolution operator is stepped, in training and in prediction.

    Parameters
    ----------
    history
        Frames that the model sees; its input channels are frame-major, oldest first.
    steps
        Frames that a training item predicts, one after another, each from the ones before.
    residual
        The model gives the change since the last frame instead of the frame.
    pushforward
        Gradient and loss of the last step only; the steps before it move the input to what the model itself
        produces.
    noise
        Standard deviation of the white noise on the training inputs, in units of the inputs' own deviation.

    References
    ----------
    Brandstetter, Worrall and Welling, Message passing neural PDE solvers, ICLR 2022.

    Examples
    --------
    >>> Rollout(history=2, steps=4).pushforward
    False
    """

    history: int = 1
    steps: int = 1
    residual: bool = False
    pushforward: bool = False
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.history < 1 or self.steps < 1:
            raise InputError(f"history and steps must be at least 1, got {self.history} and {self.steps}")
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise InputError(f"noise must be zero or positive, got {self.noise}")
        if self.pushforward and self.steps == 1:
            raise InputError("pushforward needs steps of at least 2, got 1")


class PhysicalOperator(nn.Module):
    r"""The map :math:`x \mapsto N_y^{-1}(\mathrm{model}(N_x(x), N_p(p)))` between fields in their own units.

    Under a mask the model sees 0 at the nodes outside, after normalisation; what it gives there means nothing.

    Parameters
    ----------
    model
        ``model(x)``, or ``model(x, parameters)`` where there are parameters; x ``(batch, channel, *space)``. One that
        is evaluated at points takes them as ``model(x, query=points)``, ``(batch, n, d)``, and gives
        ``(batch, channel, n)``.
    input_normaliser, output_normaliser, parameter_normaliser
        Modules with ``forward`` and ``inverse``, or None for values used as they are.
    rollout
        None for a map from inputs to outputs, or how the trajectory is stepped.

    Examples
    --------
    >>> PhysicalOperator(nn.Identity())(torch.ones(2, 1, 8)).shape
    torch.Size([2, 1, 8])
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        input_normaliser: nn.Module | None = None,
        output_normaliser: nn.Module | None = None,
        parameter_normaliser: nn.Module | None = None,
        rollout: Rollout | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.input_normaliser = input_normaliser
        self.output_normaliser = output_normaliser
        self.parameter_normaliser = parameter_normaliser
        self.rollout = rollout

    def forward(
        self,
        x: Float[Tensor, "batch channel *space"],
        parameters: Float[Tensor, "batch p"] | None = None,
        *,
        mask: Bool[Tensor, "batch 1 *space"] | None = None,
        query: Float[Tensor, "batch n d"] | None = None,
    ) -> Float[Tensor, "batch out *space"]:
        """The prediction for physical x; with a rollout, the next frame."""
        features = self._features(x, mask)
        arguments = [features]
        if parameters is not None:
            arguments.append(parameters if self.parameter_normaliser is None else self.parameter_normaliser(parameters))
        output: Tensor = self.model(*arguments) if query is None else self.model(*arguments, query=query)
        if output.dtype in (torch.bfloat16, torch.float16):
            output = output.float()
        if self.output_normaliser is not None:
            invert: Callable[[Tensor], Tensor] = self.output_normaliser.inverse  # type: ignore[assignment]
            output = invert(output)
        if self.rollout is not None and self.rollout.residual:
            channels = output.shape[1]
            output = output + x[:, (self.rollout.history - 1) * channels : self.rollout.history * channels]
        return output

    def _features(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Normalised x, 0 outside of the mask whatever stands there."""
        if mask is None:
            return x if self.input_normaliser is None else self.input_normaliser(x)
        if self.input_normaliser is None:
            return torch.where(mask, x, 0.0)
        invert: Callable[[Tensor], Tensor] = self.input_normaliser.inverse  # type: ignore[assignment]
        with torch.no_grad():
            inert = invert(torch.zeros_like(x))  # has a normalised value and a gradient, unlike what may stand there
        return torch.where(mask, self.input_normaliser(torch.where(mask, x, inert)), 0.0)

    def unroll(
        self,
        x: Float[Tensor, "batch channel *space"],
        parameters: Float[Tensor, "batch p"] | None = None,
        *,
        steps: int,
        step: Step | None = None,
        mask: Bool[Tensor, "batch 1 *space"] | None = None,
    ) -> Float[Tensor, "batch frames *space"]:
        """`steps` frames ``(batch, steps*channel, *space)`` from x: the history, then channels that do not move.

        Parameters
        ----------
        x
            The newest `history` frames, oldest first, and whatever does not move.
        parameters
            Scalar parameters.
        steps
            Number of frames.
        step
            The map from x to the next frame; None is this operator.
        mask
            Where the fields are defined, for this operator.
        """
        advance: Step = (lambda x, parameters: self(x, parameters, mask=mask)) if step is None else step
        frames = []
        for i in range(steps):
            frames.append(advance(x, parameters))
            if i + 1 < steps:
                x = self.shifted(x, frames[-1])
        return torch.cat(frames, dim=1) if steps > 1 else frames[0]

    def shifted(self, x: Tensor, frame: Tensor) -> Tensor:
        """The input of the next step: the oldest frame out, the new one in.

        Raises
        ------
        InputError
            If this is a map, or its outputs are not what it needs as inputs.
        """
        if self.rollout is None:
            raise InputError("a map has no time to be stepped in; train it with a rollout")
        channels = frame.shape[1]
        moving = self.rollout.history * channels
        if x.shape[1] < moving:
            raise InputError(
                f"{self.rollout.history} frames of {channels} channels are {moving} input channels, got {x.shape[1]}; "
                "to step on, inputs and outputs must be the same variables"
            )
        return torch.cat([x[:, channels:moving], frame, x[:, moving:]], dim=1)
