"""Normalisation of channels, and back to their units: by mean and deviation, range, logarithm, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciops.errors import DomainError, InputError, did_you_mean

if TYPE_CHECKING:
    from sciops.data.functions.statistics import Statistics

Normalisation = Literal["standard", "range", "log", "none"]
KINDS = get_args(Normalisation)


class Normaliser(nn.Module):
    """Bring each channel to a common scale: ``x -> (x - mean) / std``, of ``log(x)`` where it is marked; and back.

    Parameters
    ----------
    mean, std
        (channel,), or (channel, *space) with numbers of each node; floating point. A deviation of 0 (a constant
        channel) counts as 1.
    names
        Names of the channels, for messages and to save; None: numbers.
    logarithm
        Which channels are normalised by their logarithm; None: none.

    Raises
    ------
    InputError
        If the shapes differ, or a number is not finite or a deviation negative.

    Notes
    -----
    The buffers keep the dtype of `mean` and `std`, and `.to` changes it as for any module; values keep their own dtype.

    Examples
    --------
    >>> normaliser = Normaliser(torch.tensor([1.0]), torch.tensor([2.0]), ["u"])
    >>> x = torch.tensor([[[3.0, 5.0]]])
    >>> normaliser(x).tolist(), normaliser.inverse(normaliser(x)).tolist()
    ([[[1.0, 2.0]]], [[[3.0, 5.0]]])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Float[Tensor, "channel *space"],
        std: Float[Tensor, "channel *space"],
        names: Sequence[str] | None = None,
        *,
        logarithm: Sequence[bool] | None = None,
    ) -> None:
        super().__init__()
        self.names = tuple(map(str, range(len(mean)))) if names is None else tuple(names)
        self.logarithm = (False,) * len(self.names) if logarithm is None else tuple(map(bool, logarithm))
        if mean.ndim < 1 or mean.shape != std.shape or not len(self.names) == len(mean) == len(self.logarithm):
            raise InputError(
                f"mean {tuple(mean.shape)}, std {tuple(std.shape)} and {len(self.names)} names do not fit; "
                f"expected one of each per channel"
            )
        if not bool((mean.isfinite() & std.isfinite() & (std >= 0)).all()):
            raise InputError(f"mean {_short(mean)} and std {_short(std)} must be finite, and std not negative")
        self.register_buffer("mean", mean.detach().clone())
        self.register_buffer("std", torch.where(std > 0, std, torch.ones_like(std)).detach())

    @classmethod
    def from_statistics(
        cls,
        statistics: Statistics,
        *,
        kind: Normalisation | Sequence[Normalisation] = "standard",
        dtype: torch.dtype = torch.float64,
    ) -> Normaliser:
        """The normaliser of measured channels.

        Parameters
        ----------
        statistics
            Of the values to normalise; of their logarithms for the channels of kind ``"log"``.
        kind
            One for all channels, or one for each: ``"standard"`` to mean 0 and deviation 1, ``"range"`` to [-1, 1],
            ``"log"`` to mean 0 and deviation 1 of the logarithm, ``"none"`` for the identity.
        dtype
            Of the buffers; float32 for devices without float64.

        Raises
        ------
        InputError
            If a kind is unknown, or there are not as many as channels.

        Examples
        --------
        >>> from sciops.data.functions.statistics import Statistics
        >>> statistics = Statistics.of(torch.tensor([[1.0, 4.0], [3.0, 8.0]]), ["a", "b"])
        >>> Normaliser.from_statistics(statistics, kind="range")(torch.tensor([[1.0, 8.0]])).tolist()
        [[-1.0, 1.0]]
        """
        kinds = (kind,) * len(statistics.names) if isinstance(kind, str) else tuple(kind)
        for each in kinds:
            if each not in KINDS:
                raise InputError(f"unknown normalisation {each!r}{did_you_mean(str(each), KINDS)}")
        if len(kinds) != len(statistics.names):
            raise InputError(f"{len(kinds)} kinds of normalisation for the channels {', '.join(statistics.names)}")
        mean, std = statistics.mean.clone(), statistics.std.clone()
        for channel, each in enumerate(kinds):
            low, high = statistics.minimum[channel], statistics.maximum[channel]
            if each == "range":
                mean[channel], std[channel] = low + (high - low) / 2, (high - low) / 2
            elif each == "none":
                mean[channel], std[channel] = 0.0, 1.0
        return cls(mean.to(dtype), std.to(dtype), statistics.names, logarithm=[each == "log" for each in kinds])

    def forward(self, x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
        """Normalise along dimension 1; also parameter vectors (batch, channel)."""
        mean, std = self._along(x)
        if any(self.logarithm):
            marked = self._marked(x)
            x = torch.where(marked, torch.where(marked, x, 1.0).log(), x)
        return (x - mean) / std

    def inverse(self, x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
        """Undo `forward`."""
        mean, std = self._along(x)
        x = x * std + mean
        if any(self.logarithm):
            marked = self._marked(x)
            x = torch.where(marked, torch.where(marked, x, 0.0).exp(), x)
        return x

    def description(self) -> list[str] | dict[str, Any]:
        """What the buffers do not say, JSON-able: names, and which channels are normalised by their logarithm."""
        if not any(self.logarithm):
            return list(self.names)
        return {"names": list(self.names), "logarithm": list(self.logarithm)}

    @classmethod
    def blank(cls, entry: Sequence[str] | Mapping[str, Any], like: Tensor | None = None) -> Normaliser:
        """The normaliser of a `description`, whose numbers are still to be loaded; `like` has their shape.

        Examples
        --------
        >>> Normaliser.blank({"names": ["a", "b"], "logarithm": [True, False]}).logarithm
        (True, False)
        """
        names, logarithm = (entry["names"], entry["logarithm"]) if isinstance(entry, Mapping) else (entry, None)
        space = () if like is None or like.ndim < 1 or len(like) != len(names) else tuple(like.shape[1:])
        zeros = torch.zeros(len(names), *space, dtype=torch.float64)
        return cls(zeros, torch.ones_like(zeros), names, logarithm=logarithm)

    def extra_repr(self) -> str:
        return ", ".join(self.names)

    def _along(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.mean.ndim > 1:
            if self.mean.shape[1:] != x.shape[2:]:
                raise DomainError(
                    f"the normaliser has numbers for each node of {tuple(self.mean.shape[1:])}, and the values stand "
                    f"on {tuple(x.shape[2:])}; use them on that grid, or normalise by channel"
                )
            return self.mean.to(x.dtype), self.std.to(x.dtype)
        shape = (-1,) + (1,) * (x.ndim - 2)
        return self.mean.to(x.dtype).view(shape), self.std.to(x.dtype).view(shape)

    def _marked(self, x: Tensor) -> Tensor:
        return torch.tensor(self.logarithm, device=x.device).view(-1, *(1,) * (x.ndim - 2))


def _short(values: Tensor) -> str:
    return str(values.tolist()) if values.numel() <= 16 else f"of shape {tuple(values.shape)}"
