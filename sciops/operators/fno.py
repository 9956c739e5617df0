"""The Fourier neural operator, in any number of dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from sciops.data.domain import Grid
from sciops.errors import InputError
from sciops.kernels.fourier import FourierAxis
from sciops.layers.embeddings import coordinate_channels, coordinate_count
from sciops.layers.norms import FieldNorm
from sciops.layers.pointwise import PointwiseLinear, PointwiseMLP
from sciops.layers.spectral import SpectralConv
from sciops.operators.base import NeuralOperator, registry

if TYPE_CHECKING:
    from jaxtyping import Float


@registry.register("fno")
class FNO(NeuralOperator):
    r"""Fourier neural operator: layers that are global in space and low-dimensional in frequency.

    .. math::

        v_0 = P(a, s), \quad h = \sigma(K_l v_l + W_l v_l + b_l(p)), \quad
        v_{l+1} = \sigma(M_l h + g_l \odot v_l), \quad u = Q(v_L)

    with :math:`K_l` a spectral convolution, M a perceptron of the channels, g a gate per channel, P and Q perceptrons,
    s coordinates and p scalar parameters; the last layer has no activation. On a non-periodic axis the Fourier series
    lives on a longer period of the same physical length at every resolution
    (:class:`~sciops.kernels.fourier.FourierAxis`). The result converges as the grid of the input is refined.

    Parameters
    ----------
    in_channels, out_channels
        Number of channels of the input and output functions.
    modes
        Highest frequency kept, for all axes or one per axis.
    width
        Number of channels of the layers.
    layers
        Number of layers.
    parameters
        Number of scalar parameters; they enter the lifting and every layer as a shift of the channels.
    grid
        The domain: its axis kinds matter, its sizes do not. None is a periodic domain of as many axes as `modes` has.
    padding
        Continuation of non-periodic axes as a fraction of their extent.
    coordinates
        Whether coordinates enter as channels: of all axes, of none, or (None) of the non-periodic ones. A periodic
        axis enters by its cosine and sine.
    expansion
        Hidden channels of the channel perceptrons as a multiple of `width`.
    norm
        None, or "instance": normalise each channel by its mean and standard deviation over the domain.
    seed
        Seed of the initial weights; the global random state is not touched.

    Raises
    ------
    InputError
        For counts below one, or modes that do not fit the grid's number of axes.

    References
    ----------
    Li, Kovachki, Azizzadenesheli, Liu, Bhattacharya, Stuart, Anandkumar: Fourier neural operator for parametric
    partial differential equations, 2021. Kossaifi, Kovachki, Azizzadenesheli, Anandkumar: Multi-grid tensorized
    Fourier neural operator for high-resolution PDEs, 2024 (the block).

    Examples
    --------
    >>> fno = FNO(1, 1, modes=(4, 4), width=8, layers=2)
    >>> fno(torch.zeros(3, 1, 16, 16)).shape, fno(torch.zeros(3, 1, 31, 24)).shape
    (torch.Size([3, 1, 16, 16]), torch.Size([3, 1, 31, 24]))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        modes: int | Sequence[int],
        width: int = 32,
        layers: int = 4,
        parameters: int = 0,
        grid: Grid | None = None,
        padding: float = 0.25,
        coordinates: bool | None = None,
        expansion: float = 0.5,
        norm: Literal["instance"] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, count in (("in_channels", in_channels), ("out_channels", out_channels), ("width", width)):
            if count < 1:
                raise InputError(f"{name} is {count}; at least 1 is needed")
        self.in_channels, self.out_channels, self.width, self.layers = in_channels, out_channels, width, layers
        self.parameter_count, self.grid, self.padding, self.coordinates = parameters, grid, padding, coordinates
        self.expansion, self.norm, self.seed = expansion, norm, seed
        self.modes = modes if isinstance(modes, int) else tuple(modes)
        axes = _axes(self.modes, grid, padding)
        self.ndim = len(axes)
        self.kinds = tuple(axis.kind for axis in axes)

        generator = torch.Generator().manual_seed(seed)
        lifted = in_channels + self._coordinate_count()
        self.lifting = PointwiseMLP(lifted, 2 * width, width, generator=generator)
        self.projection = PointwiseMLP(width, 2 * width, out_channels, generator=generator)
        self.blocks = nn.ModuleList(
            FNOBlock(
                width,
                axes,
                hidden=max(1, round(expansion * width)),
                norm=norm,
                activation=i + 1 < layers,
                generator=generator,
            )
            for i in range(layers)
        )
        self.shifts = (
            PointwiseLinear(parameters, (layers + 2) * width, bias=False, generator=generator) if parameters else None
        )

    def transform(self, x: Tensor, parameters: Tensor | None) -> Tensor:
        channels = self._coordinate_channels(x)
        if channels is not None:
            x = torch.cat([x, channels.expand(x.shape[0], *channels.shape)], 1)
        lifting_shift, shifts = None, [None] * self.layers
        if self.shifts is not None and parameters is not None:
            shift = self.shifts(parameters)
            lifting_shift, *shifts = shift.split([2 * self.width] + [self.width] * self.layers, 1)
        x = self.lifting(x, lifting_shift)
        for block, shift in zip(self.blocks, shifts, strict=True):
            x = block(x, shift)
        return self.projection(x)

    def _coordinate_count(self) -> int:
        return 0 if self.coordinates is False else coordinate_count(self.kinds, periodic=bool(self.coordinates))

    def _coordinate_channels(self, x: Tensor) -> Tensor | None:
        if self.coordinates is False:
            return None
        return coordinate_channels(x.shape[2:], self.kinds, periodic=bool(self.coordinates), like=x)


class FNOBlock(nn.Module):
    """One layer of :class:`FNO`."""

    def __init__(
        self,
        width: int,
        axes: Sequence[FourierAxis],
        *,
        hidden: int,
        norm: str | None,
        activation: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.spectral = SpectralConv(width, width, axes, generator=generator)
        self.skip = PointwiseLinear(width, width, gain=3**-0.5, generator=generator)
        self.mlp = PointwiseMLP(width, hidden, width, generator=generator)
        self.gate = nn.Parameter(torch.ones(width))
        self.norms = nn.ModuleList(FieldNorm(width, [a.kind for a in axes]) for _ in range(2)) if norm else None
        self.activation = activation

    def forward(
        self, x: Float[Tensor, "batch width *space"], shift: Float[Tensor, "batch width"] | None = None
    ) -> Float[Tensor, "batch width *space"]:
        """Apply the layer; `shift` (batch, width) is added to its bias per sample."""
        h = self.spectral(x)
        if self.norms is not None:
            h = self.norms[0](h)
        h = h + self.skip(x)
        if shift is not None:
            h = h + shift[(...,) + (None,) * (x.ndim - 2)]
        if self.activation:
            h = gelu(h)
        h = self.mlp(h) + self.gate[(...,) + (None,) * (x.ndim - 2)] * x
        if self.norms is not None:
            h = self.norms[1](h)
        return gelu(h) if self.activation else h


def _axes(modes: int | tuple[int, ...], grid: Grid | None, padding: float) -> tuple[FourierAxis, ...]:
    if grid is None:
        if isinstance(modes, int):
            raise InputError(f"modes={modes} does not tell the number of axes; pass a grid, or modes as a tuple")
        return tuple(FourierAxis(m) for m in modes)
    each = (modes,) * grid.ndim if isinstance(modes, int) else modes
    if len(each) != grid.ndim:
        raise InputError(f"modes={modes} for a grid with the {grid.ndim} axes {', '.join(grid.names)}")
    return tuple(
        FourierAxis(m, kind, 0.0 if kind == "periodic" else padding) for m, kind in zip(each, grid.kinds, strict=True)
    )
