"""`Field`: a function sampled on a domain, with names and units of its channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float
from torch import Tensor

from sciops.data import conventions
from sciops.data.domains.domain import Domain, Grid
from sciops.data.domains.interpolation import Method, interpolate, resample
from sciops.data.domains.scattered import Outside
from sciops.errors import DataError, DomainError, InputError

_BATCH_DIMS = ("sample", "time")


class Field:
    """Values of one or more channels on a domain.

    Parameters
    ----------
    values
        Shape ``(*batch, channel, *grid.shape)``, any real dtype or bool.
    grid
        Where the values stand: a `Grid`, `PointCloud`, `Mesh` or `CurvilinearGrid`.
    names
        One name per channel; ``None`` stands for ``u``, or ``u0, u1, ...``.
    units
        One unit per channel; ``None`` stands for ``""``.

    Attributes
    ----------
    values : Tensor
    domain : Domain
    names : tuple of str
    units : tuple of str

    Raises
    ------
    DomainError
        If the last dimensions of the values are not those of the domain.
    InputError
        If names or units are not one per channel, or two channels have the same name.

    Examples
    --------
    >>> grid = Grid.unit(32, kind="periodic")
    >>> wave = Field(torch.sin(2 * torch.pi * grid.coordinates()), grid, names=("u",))
    >>> wave
    Field(u, batch=(), grid=(x: 32 periodic), torch.float64)
    >>> float(wave.norm()[0].round(decimals=12)) == round(0.5**0.5, 12)
    True
    """

    values: Tensor
    domain: Domain
    names: tuple[str, ...]
    units: tuple[str, ...]

    def __init__(
        self, values: Tensor, grid: Domain, *, names: Sequence[str] | None = None, units: Sequence[str] | None = None
    ) -> None:
        if not isinstance(values, Tensor) or values.is_complex():
            raise InputError(
                f"the values of a field are a real torch.Tensor, got {getattr(values, 'dtype', type(values).__name__)}"
            )
        if values.ndim < grid.ndim + 1 or tuple(values.shape[-grid.ndim :]) != grid.shape:
            raise DomainError(
                f"values of shape {tuple(values.shape)} do not stand on the {_kind(grid)}: expected (*batch, channel, "
                f"{', '.join(f'{dim}={size}' for dim, size in zip(grid.dims, grid.shape, strict=True))})"
            )
        channels = values.shape[-grid.ndim - 1]
        default = ("u",) if channels == 1 else tuple(f"u{i}" for i in range(channels))
        self.values = values
        self.domain = grid
        self.names = _one_per_channel("names", names, default)
        self.units = _one_per_channel("units", units, ("",) * channels)
        if len(set(self.names)) < channels:
            raise InputError(f"every channel of a field has its own name, got {', '.join(self.names)}")

    def __repr__(self) -> str:
        where = f"domain={self.domain!r}"
        if isinstance(self.domain, Grid):
            where = f"grid=({', '.join(f'{axis.name}: {axis.size} {axis.kind}' for axis in self.domain.axes)})"
        return f"Field({', '.join(self.names)}, batch={self.batch_shape}, {where}, {self.values.dtype})"

    @property
    def grid(self) -> Grid:
        """The domain, where it is a grid.

        Raises
        ------
        DomainError
            If it is another one: `domain` has it.
        """
        if not isinstance(self.domain, Grid):
            raise DomainError(f"the field stands on {self.domain!r}, not on a grid; resample it onto one first")
        return self.domain

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions before the channel."""
        return tuple(self.values.shape[: -self.domain.ndim - 1])

    def at(self, points: Float[Tensor, "n dimension"], *, outside: Outside = "error") -> Tensor:
        """The values at scattered points, by `sciops.data.domains.interpolation.interpolate`.

        Parameters
        ----------
        points
            Shape ``(n, domain.dimension)``, one column per direction in its units.
        outside
            What points outside get, see `sciops.data.domains.interpolation.interpolate`.

        Returns
        -------
        Tensor
            Shape ``(*batch, channel, n)``.

        Raises
        ------
        DomainError
            If a point lies outside.

        Examples
        --------
        >>> grid = Grid.unit(5)
        >>> Field(grid.coordinates() ** 2, grid).at(torch.tensor([[0.3]], dtype=torch.float64)).round(decimals=12)
        tensor([[0.0900]], dtype=torch.float64)
        """
        return interpolate(self.values, self.domain, points, outside=outside)

    def resample(self, grid: Domain, *, method: Method = "cubic", outside: Outside = "error") -> Field:
        """The field on another domain within its own, by `sciops.data.domains.interpolation.resample`.

        Examples
        --------
        >>> field = Field(Grid.unit(8, kind="cell").coordinates(), Grid.unit(8, kind="cell"))
        >>> field.resample(Grid.unit(3)).values.round(decimals=12).tolist()
        [[0.0, 0.5, 1.0]]
        """
        values = resample(self.values, self.domain, grid, method=method, outside=outside)
        return Field(values, grid, names=self.names, units=self.units)

    def norm(
        self, p: float = 2, *, mask: Bool[Tensor, "*#batch #channel *space"] | None = None
    ) -> Float[Tensor, "*batch channel"]:
        """The norm of each channel in the function space L^p, the same at every resolution.

        ``(sum_i w_i |u_i|^p)^(1/p)`` with the quadrature weights w, and the largest ``|u_i|`` for ``p = inf``.

        Parameters
        ----------
        p
            At least 1; ``math.inf`` for the largest value.
        mask
            Bool, True in the part of the domain to integrate over: ``(*space)``, or with batch and channel dimensions
            in front, of 1 where all share it. Values outside may be NaN.

        Returns
        -------
        Tensor
            Shape ``(*batch, channel)``, in the units of the channel times those of the volume to the power ``1/p``.

        Raises
        ------
        InputError
            If ``p < 1``, or the mask does not fit.

        Examples
        --------
        >>> grid = Grid.unit(16, 16, kind="cell")
        >>> float(Field(torch.full((1, 16, 16), 3.0), grid).norm(1).round(decimals=5))
        3.0
        """
        if not p >= 1:
            raise InputError(f"a norm L^p needs p >= 1, got p = {p}")
        values = self.values if self.values.is_floating_point() else self.values.to(torch.float64)
        space = tuple(range(-self.domain.ndim, 0))
        if mask is not None:
            values = torch.where(self._mask(mask), values, 0.0)
        if math.isinf(p):
            return values.abs().amax(dim=space)
        roots = self.domain.weights(values.dtype, values.device) ** (1 / p)
        norms: Tensor = torch.linalg.vector_norm(values * roots, ord=p, dim=space)
        return norms

    def _mask(self, mask: Tensor) -> Tensor:
        sizes = zip(reversed(mask.shape), reversed(self.values.shape), strict=False)
        fits = mask.ndim <= self.values.ndim and all(size in (1, whole) for size, whole in sizes)
        if not fits or tuple(mask.shape[-self.domain.ndim :]) != self.domain.shape:
            raise InputError(
                f"the mask has shape {tuple(mask.shape)}, the values {tuple(self.values.shape)}; it needs the shape "
                f"{self.domain.shape}, or that with batch and channel in front"
            )
        return mask.to(device=self.values.device, dtype=torch.bool)

    def require_finite(self) -> Field:
        """The field itself, if it holds no NaN and no infinity.

        Raises
        ------
        DataError
            If it does; the message names the channel, the first place and how many there are.

        Examples
        --------
        >>> grid = Grid.unit(4)
        >>> Field(torch.ones(1, 4), grid).require_finite().names
        ('u',)
        """
        bad = ~torch.isfinite(self.values)
        if bool(bad.any()):
            place = tuple(int(i) for i in bad.nonzero()[0])
            channel = place[len(self.batch_shape)]
            count = int(bad.select(len(self.batch_shape), channel).sum())
            batch, node = place[: len(self.batch_shape)], place[-self.domain.ndim :]
            raise DataError(
                f"channel {self.names[channel]!r} holds {count} value(s) that are NaN or infinite, the first at "
                f"{f'sample {batch}, ' if batch else ''}node {node}; remove or fill them first"
            )
        return self

    def to_xarray(self) -> xr.Dataset:
        """The field as a data set by `sciops.data.conventions`, one variable per channel.

        Returns
        -------
        xarray.Dataset
            Variables of dims ``(sample?, time?, *space)`` for up to two batch dimensions, with the attribute ``units``,
            and the coordinates of the domain by `sciops.data.conventions`, such as one for each axis that carries its
            kind and interval. `from_xarray` gives the field back.

        Raises
        ------
        InputError
            If there are more than two batch dimensions, or a channel has the name of an axis.

        Examples
        --------
        >>> grid = Grid.unit(4, kind="left")
        >>> Field(torch.ones(3, 1, 4), grid, names=("a",)).to_xarray()["a"].dims
        ('sample', 'x')
        """
        batch = self.batch_shape
        if len(batch) > len(_BATCH_DIMS):
            raise InputError(
                f"a data set has the batch dimensions sample and time, the field has {batch}; "
                f"flatten them first to (sample,) or (sample, time)"
            )
        dims = _BATCH_DIMS[: len(batch)] + self.domain.dims
        coordinates, marks = conventions.coordinates_of(self.domain)
        taken = next((name for name in self.names if name in dims or name in coordinates), None)
        if taken is not None:
            raise InputError(
                f"the channel {taken!r} has the name of a dimension or coordinate of the data set; rename the channel"
            )
        values = self.values.detach().cpu()
        array = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
        attributes = {**{f"{dim}_dim": dim for dim in _BATCH_DIMS[: len(batch)]}, **marks}
        return xr.Dataset(
            {
                name: (dims, array.take(i, axis=len(batch)), {"units": units})
                for i, (name, units) in enumerate(zip(self.names, self.units, strict=True))
            },
            coords=coordinates,
            attrs=attributes,
        )

    @classmethod
    def from_xarray(cls, ds: xr.Dataset, variables: str | Sequence[str]) -> Field:
        """The field of one or more variables of a data set on the same domain; values are read into memory.

        Parameters
        ----------
        ds
            A data set by `sciops.data.conventions`.
        variables
            Name or names. A variable with a channel dimension gives one channel per entry, named ``velocity0``, ...

        Returns
        -------
        Field
            Values of shape ``(sample?, time?, channel, *space)``, in the common dtype of the variables.

        Raises
        ------
        DataError
            If a variable is missing or not numeric.
        DomainError
            If the variables differ in their domains, or in having sample and time dimensions.

        Examples
        --------
        >>> ds = xr.Dataset({"u": (("sample", "x"), np.zeros((2, 5))), "v": (("sample", "x"), np.ones((2, 5)))})
        >>> Field.from_xarray(ds, ["u", "v"])
        Field(u, v, batch=(2,), grid=(x: 5 left), torch.float64)
        """
        chosen = (variables,) if isinstance(variables, str) else tuple(variables)
        if not chosen:
            raise InputError("a field needs the name of at least one variable, got none")
        parts = [_channels(ds, name) for name in chosen]
        grid, batch = conventions.domain_of(ds, chosen[0]), parts[0][0]
        space = conventions.space_dims(ds, chosen[0])
        for name, (dims, _, _) in zip(chosen, parts, strict=True):
            if dims != batch or conventions.space_dims(ds, name) != space:
                raise DomainError(
                    f"{conventions.origin(ds)}: {chosen[0]!r} and {name!r} do not share one {_kind(grid)} and batch: "
                    f"dimensions {ds[chosen[0]].dims} and {ds[name].dims}"
                )
        values = np.concatenate([part for _, part, _ in parts], axis=len(batch))
        names = [channel for _, _, channels in parts for channel in channels]
        units = [
            str(ds[name].attrs.get("units", "")) for name, (_, _, many) in zip(chosen, parts, strict=True) for _ in many
        ]
        return cls(torch.from_numpy(values), grid, names=names, units=units)


def _kind(domain: Domain) -> str:
    return "grid" if isinstance(domain, Grid) else f"{type(domain).__name__} {domain.shape}"


def _channels(ds: xr.Dataset, name: str) -> tuple[tuple[str, ...], np.ndarray[Any, Any], list[str]]:
    """Batch dims, values ``(*batch, channel, *space)`` and channel names of one variable."""
    variable = conventions.require_variable(ds, name)
    if variable.dtype.kind not in "biuf":
        raise DataError(f"{conventions.origin(ds)}: variable {name!r} is not numeric, its dtype is {variable.dtype}")
    marked = (conventions.sample_dim(ds), conventions.time_dim(ds))
    batch = tuple(dim for dim in marked if dim is not None and dim in variable.dims)
    channel = conventions.channel_dim(ds, name)
    order = (*batch, *((channel,) if channel else ()), *conventions.space_dims(ds, name))
    values = np.array(variable.transpose(*order).values)
    if channel is None:
        return batch, np.expand_dims(values, len(batch)), [name]
    return batch, values, [f"{name}{i}" for i in range(values.shape[len(batch)])]


def _one_per_channel(what: str, given: Sequence[str] | None, default: tuple[str, ...]) -> tuple[str, ...]:
    if given is None:
        return default
    chosen = (given,) if isinstance(given, str) else tuple(given)
    if len(chosen) != len(default):
        raise InputError(f"{what} has {len(chosen)} entries ({', '.join(chosen)}) for {len(default)} channel(s)")
    return chosen
