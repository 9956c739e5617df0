"""Calls of the kernels that mix modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from kernel_examples import Draw, Example

Tensors = tuple[Tensor | None, ...]


def separable(draw: Draw, *modes: int, batch: int, channels: int) -> Tensors:
    return draw.normal(*modes, 2, batch, channels), draw.normal(*modes, 2, channels)


def tucker(draw: Draw, *modes: int, ranks: tuple[int, ...], batch: int, channels: tuple[int, int]) -> Tensors:
    *mode_ranks, a, b = ranks
    factors = [_scaled(draw, n, 2, r) for n, r in zip(modes, mode_ranks, strict=True)]
    return (
        draw.normal(*modes, 2, batch, channels[0]),
        _scaled(draw, *mode_ranks, a, 2, b),
        _scaled(draw, channels[0], 2, a),
        _scaled(draw, channels[1], 2, b),
        *_padded(factors),
    )


def cp(draw: Draw, *modes: int, rank: int, batch: int, channels: tuple[int, int]) -> Tensors:
    return (
        draw.normal(*modes, 2, batch, channels[0]),
        _scaled(draw, channels[0], 2, rank),
        _scaled(draw, channels[1], 2, rank),
        *_padded([draw.normal(n, 2, rank) for n in modes]),
    )


def tensor_train(draw: Draw, *modes: int, ranks: tuple[int, ...], batch: int, channels: tuple[int, int]) -> Tensors:
    p, *rest = ranks
    after = [*rest[1:], 1]
    return (
        draw.normal(*modes, 2, batch, channels[0]),
        _scaled(draw, channels[0], 2, p),
        _scaled(draw, rest[0], p, 2, channels[1]),
        *_padded([_scaled(draw, n, r, 2, s) for n, r, s in zip(modes, rest, after, strict=True)]),
    )


def _scaled(draw: Draw, *shape: int) -> Tensor:
    return draw.normal(*shape) / shape[-1] ** 0.5


def _padded(factors: list[Tensor]) -> Tensors:
    return (*factors, *[None] * (3 - len(factors)))


def _pair(make: Callable[..., Tensors], small: dict[str, Any], large: dict[str, Any]) -> Callable[[Draw], Tensors]:
    def draws(draw: Draw) -> Tensors:
        options = dict(small if draw.small else large)
        return make(draw, *options.pop("modes"), **options)

    return draws


def _backward(make: Callable[[Draw], Tensors], out: int | None) -> Callable[[Draw], Tensors]:
    """The same with the gradient of the result in front; `out` is the place of the tensor that has its channels."""

    def draws(draw: Draw) -> Tensors:
        pair, *rest = make(draw)
        assert pair is not None
        channels = pair.shape[-1] if out is None else rest[out].shape[-1 if rest[out].ndim == 4 else 0]  # type: ignore[union-attr]
        return draw.normal(*pair.shape[:-1], channels), pair, *rest

    return draws


_SMALL = {"batch": 1, "channels": (2, 1)}
_SEPARABLE = {
    "1d": _pair(separable, {"modes": (3,), "batch": 2, "channels": 2}, {"modes": (9,), "batch": 3, "channels": 37}),
    "2d": _pair(
        separable, {"modes": (2, 3), "batch": 1, "channels": 2}, {"modes": (33, 17), "batch": 3, "channels": 5}
    ),
    "3d": _pair(
        separable, {"modes": (2, 1, 2), "batch": 2, "channels": 1}, {"modes": (7, 5, 4), "batch": 2, "channels": 9}
    ),
}
_TUCKER = {
    "1d": _pair(
        tucker,
        {"modes": (3,), "ranks": (2, 2, 1), **_SMALL},
        {"modes": (17,), "ranks": (9, 5, 7), "batch": 3, "channels": (11, 13)},
    ),
    "2d": _pair(
        tucker,
        {"modes": (2, 2), "ranks": (1, 2, 1, 2), **_SMALL},
        {"modes": (13, 7), "ranks": (5, 4, 6, 5), "batch": 3, "channels": (9, 8)},
    ),
    "3d": _pair(
        tucker,
        {"modes": (1, 2, 2), "ranks": (1, 2, 1, 1, 1), **_SMALL},
        {"modes": (5, 7, 4), "ranks": (4, 3, 2, 5, 3), "batch": 2, "channels": (7, 6)},
    ),
}
_CP = {
    "1d": _pair(
        cp, {"modes": (3,), "rank": 2, **_SMALL}, {"modes": (17,), "rank": 29, "batch": 3, "channels": (11, 13)}
    ),
    "2d": _pair(
        cp, {"modes": (2, 2), "rank": 2, **_SMALL}, {"modes": (13, 7), "rank": 31, "batch": 3, "channels": (9, 8)}
    ),
    "3d": _pair(
        cp, {"modes": (1, 2, 2), "rank": 1, **_SMALL}, {"modes": (5, 7, 4), "rank": 9, "batch": 2, "channels": (7, 6)}
    ),
}
_TRAIN = {
    "1d": _pair(
        tensor_train,
        {"modes": (3,), "ranks": (1, 2), **_SMALL},
        {"modes": (17,), "ranks": (9, 5), "batch": 3, "channels": (11, 13)},
    ),
    "2d": _pair(
        tensor_train,
        {"modes": (2, 2), "ranks": (1, 2, 1), **_SMALL},
        {"modes": (13, 7), "ranks": (6, 5, 4), "batch": 3, "channels": (9, 8)},
    ),
    "3d": _pair(
        tensor_train,
        {"modes": (1, 2, 2), "ranks": (1, 1, 2, 1), **_SMALL},
        {"modes": (5, 7, 4), "ranks": (4, 3, 2, 3), "batch": 2, "channels": (7, 6)},
    ),
}

EXAMPLES = [
    Example(name, make, label)
    for name, makes in (
        ("mix_separable", _SEPARABLE),
        ("mix_tucker", _TUCKER),
        ("mix_cp", _CP),
        ("mix_tensor_train", _TRAIN),
    )
    for label, make in makes.items()
] + [
    Example(f"{name}_backward", _backward(makes[label], out), label)
    for name, makes, out in (
        ("mix_separable", _SEPARABLE, None),
        ("mix_tucker", _TUCKER, 2),
        ("mix_cp", _CP, 1),
        ("mix_tensor_train", _TRAIN, 1),
    )
    for label in ("2d", "3d")
]
