"""What every operator shares: one call from tensors to tensors, checked input, and a configuration that rebuilds it."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from sciops.data.domains.domain import Grid
from sciops.errors import InputError, did_you_mean
from sciops.registry import Registry

if TYPE_CHECKING:
    from typing import Self

    from jaxtyping import Float

__all__ = ["NeuralOperator", "registry"]


class NeuralOperator(nn.Module, abc.ABC):
    r"""A map from functions on a grid to functions on the same grid, :math:`(a, p) \mapsto u`.

    A subclass keeps every argument of its constructor as an attribute of the same name (but `parameters` as
    `parameter_count`, since a module has a method of that name), sets `ndim`, and implements `transform`; `forward`
    checks the input first. What the domain is (kinds and extents of the axes) is fixed at construction, the number of
    nodes is that of the input.

    Attributes
    ----------
    resolution_free
        True if the result converges as the grid of the input is refined; False for a model of pixels.
    in_channels, out_channels, parameter_count
        Number of channels in and out, and of scalar parameters.
    ndim
        Number of axes of the domain.
    """

    resolution_free: ClassVar[bool] = True
    in_channels: int
    out_channels: int
    parameter_count: int
    ndim: int

    @abc.abstractmethod
    def transform(self, x: Tensor, parameters: Tensor | None) -> Tensor:
        """The map itself, for input that `forward` has checked."""

    def forward(
        self,
        x: Float[Tensor, "batch in_channel *space"],
        parameters: Float[Tensor, "batch parameter"] | None = None,
    ) -> Float[Tensor, "batch out_channel *space"]:
        """Apply the operator.

        Parameters
        ----------
        x
            Functions on a grid, (batch, in_channel, *space).
        parameters
            Scalar parameters, (batch, parameter); needed if and only if the operator was made with parameters.

        Returns
        -------
        Tensor
            (batch, out_channel, *space).

        Raises
        ------
        InputError
            If the number of dimensions, channels or parameters is not what the operator was made for.
        """
        if x.ndim != self.ndim + 2 or x.shape[1] != self.in_channels:
            raise InputError(
                f"{type(self).__name__} takes x of shape (batch, {self.in_channels}, {self.ndim} space axes), "
                f"got {tuple(x.shape)}"
            )
        if parameters is None and self.parameter_count:
            raise InputError(
                f"{type(self).__name__} was made with {self.parameter_count} scalar parameters; "
                f"pass parameters of shape (batch, {self.parameter_count})"
            )
        if parameters is not None and (parameters.ndim != 2 or parameters.shape[1] != self.parameter_count):
            raise InputError(
                f"{type(self).__name__} takes parameters of shape (batch, {self.parameter_count}), "
                f"got {tuple(parameters.shape)}"
            )
        if parameters is not None and parameters.shape[0] != x.shape[0]:
            raise InputError(f"x has {x.shape[0]} samples, parameters has {parameters.shape[0]}; give one row for each")
        return self.transform(x, parameters if self.parameter_count else None)

    @staticmethod
    def require_counts(*, parameters: int, **counts: int) -> None:
        """Raise InputError, naming the argument, for a count below one (parameters: below zero)."""
        for name, count in counts.items():
            if count < 1:
                raise InputError(f"{name} is {count}; at least 1 is needed")
        if parameters < 0:
            raise InputError(f"parameters is {parameters}; the number of scalar parameters is 0 or more")

    def configuration(self) -> dict[str, Any]:
        """The arguments of the constructor as JSON-able values; `from_configuration` is the inverse."""
        names = list(inspect.signature(type(self)).parameters)
        return {name: _plain(getattr(self, _ATTRIBUTES.get(name, name))) for name in names}

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any]) -> Self:
        """The operator, with initial weights, that `configuration` described.

        Raises
        ------
        InputError
            If the configuration has an entry that the constructor does not take, or lacks one.
        """
        signature = inspect.signature(cls).parameters
        for name in configuration:
            if name not in signature:
                raise InputError(f"{cls.__name__} takes no argument {name!r}{did_you_mean(str(name), signature)}")
        for name, argument in signature.items():
            if argument.default is inspect.Parameter.empty and name not in configuration:
                raise InputError(f"the configuration of {cls.__name__} lacks {name!r}")
        arguments = {name: _rich(value) for name, value in configuration.items()}
        return cls(**arguments)


_ATTRIBUTES = {"parameters": "parameter_count"}
registry: Registry[type[NeuralOperator]] = Registry("operator")


def _plain(value: Any) -> Any:
    if isinstance(value, Grid):
        return {"grid": value.to_dict()}
    return list(value) if isinstance(value, tuple) else value


def _rich(value: Any) -> Any:
    if isinstance(value, Mapping) and set(value) == {"grid"}:
        return Grid.from_dict(value["grid"])
    return tuple(value) if isinstance(value, list) else value
