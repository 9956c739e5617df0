"""Calls of the sine and cosine transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernel_examples import Draw, Example


def transform(
    small: tuple[int, ...], large: tuple[int, ...], dims: list[int], sine: bool, kind: int, norm: str
) -> Callable[[Draw], tuple[Any, ...]]:
    return lambda draw: (draw.normal(*(small if draw.small else large)), dims, sine, kind, norm)


_SHAPES = {
    1: ((2, 4), (3, 37), [1]),
    2: ((3, 2, 3), (13, 2, 31), [0, 2]),
    3: ((2, 3, 2), (9, 12, 7), [0, 1, 2]),
    4: ((3, 4), (3, 26), [0, 1]),
}
EXAMPLES = [
    Example(
        "trigonometric_transform",
        transform(*_SHAPES[kind], sine, kind, norm),
        f"{'sine' if sine else 'cosine'}-{kind}-{norm}",
    )
    for sine in (False, True)
    for kind, norm in ((1, "forward"), (2, "backward"), (2, "ortho"), (3, "forward"), (3, "ortho"), (4, "forward"))
]
