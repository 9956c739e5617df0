"""The Fourier neural operator, in any number of dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from sciops.data.domains.domain import Grid
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
        For counts below one, an unknown norm, or modes that do not fit the grid's number of axes.

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
        self.require_counts(
            in_channels=in_channels, out_channels=out_channels, width=width, layers=layers, parameters=parameters
        )
        if norm not in (None, "instance"):
            raise InputError(f"unknown norm {norm!r}; it is None or 'instance'")
        self.in_channels, self.out_channels, self.width, self.layers = in_channels, out_channels, width, layers
        self.parameter_count, self.grid, self.padding, self.coordinates = parameters, grid, padding, coordinates
        self.expansion, self.norm, self.seed = expansion, norm, seed
        self.modes = modes if isinstance(modes, int) else tuple(modes)
        axes = _axes(self.modes, grid, padding)
        self.ndim = len(axes)
        self.kinds = tuple(axis.kind for axis in axes)

        generator = torch.Generator().manual_seed(seed)
        lifted = in_channels + coordinate_count(self.kinds, **self._which()) + parameters
        self.lifting = PointwiseMLP(lifted, 2 * width, width, generator=generator)
        self.blocks = nn.ModuleList(
            FNOBlock(
                width,
                axes,
                hidden=max(1, round(expansion * width)),
                parameters=parameters,
                norm=norm is not None,
                activate=i + 1 < layers,
                generator=generator,
            )
            for i in range(layers)
        )
        self.projection = PointwiseMLP(width, 2 * width, out_channels, generator=generator)

    def transform(self, x: Tensor, parameters: Tensor | None) -> Tensor:
        # inside, the last axis comes first and the channels last: then every transform and channel map is one product
        x = x.permute(-1, 0, *range(2, x.ndim - 1), 1)
        extra = coordinate_channels(x.shape[2:-1] + x.shape[:1], self.kinds, like=x, **self._which())
        inputs = [x]
        if extra is not None:
            inputs.append(extra.movedim((-1, 0), (0, -1)).unsqueeze(1).expand(*x.shape[:-1], -1))
        if parameters is not None:
            along_axes = parameters.view(-1, *(1,) * (self.ndim - 1), parameters.shape[1])
            inputs.append(along_axes.expand(*x.shape[:-1], -1))
        x = self.lifting(torch.cat(inputs, -1))
        for block in self.blocks:
            x = block(x, parameters)
        y: Tensor = self.projection(x)
        return y.permute(1, -1, *range(2, y.ndim - 1), 0)

    def _which(self) -> dict[str, bool]:
        return {"periodic": self.coordinates is True, "others": self.coordinates is not False}


class FNOBlock(nn.Module):
    """One layer of :class:`FNO` on (last axis, batch, other axes, channel)."""

    def __init__(
        self,
        width: int,
        axes: Sequence[FourierAxis],
        *,
        hidden: int,
        parameters: int,
        norm: bool,
        activate: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.spectral = SpectralConv(width, width, axes, generator=generator)
        self.bias = nn.Parameter(torch.zeros(width))
        self.shift = (
            PointwiseLinear(parameters, width, bias=False, gain=3**-0.5, generator=generator) if parameters else None
        )
        self.mlp = PointwiseMLP(
            width,
            hidden,
            width,
            residual=True,
            activate_in=activate,
            activate_out=activate and not norm,
            generator=generator,
        )
        kinds = [axis.kind for axis in axes]
        self.norms = nn.ModuleList(FieldNorm(width, kinds) for _ in range(2)) if norm else None
        self.activate = activate

    def forward(
        self, x: Float[Tensor, "last batch *other width"], parameters: Float[Tensor, "batch parameter"] | None = None
    ) -> Float[Tensor, "last batch *other width"]:
        """Apply the layer."""
        dims = (*range(2, x.ndim - 1), 0)
        bias: Tensor = self.bias
        if self.shift is not None and parameters is not None:
            bias = bias + self.shift(parameters)
        if self.norms is None:
            # the constant enters at the frequency zero, where it costs nothing
            y: Tensor = self.mlp(self.spectral(x, bias=bias, dims=dims, channel=-1), x)
            return y
        h = self.norms[0](self.spectral(x, dims=dims, channel=-1), dims=dims, channel=-1)
        h = h + bias.view(-1, *(1,) * (x.ndim - 3), x.shape[-1])
        y = self.norms[1](self.mlp(h, x), dims=dims, channel=-1)
        return gelu(y) if self.activate else y


def _axes(modes: int | tuple[int, ...], grid: Grid | None, padding: float) -> tuple[FourierAxis, ...]:
    if grid is None:
        if isinstance(modes, int):
            raise InputError(f"modes={modes} does not tell the number of axes; pass a grid, or modes as a tuple")
        return tuple(FourierAxis(m) for m in modes)
    each = (modes,) * grid.ndim if isinstance(modes, int) else modes
    if len(each) != grid.ndim:
        raise InputError(f"modes={modes} for a grid with the {grid.ndim} axes {', '.join(grid.names)}")
    grid.require_uniform("FNO")
    return tuple(
        FourierAxis(m, kind, 0.0 if kind == "periodic" else padding) for m, kind in zip(each, grid.kinds, strict=True)
    )
