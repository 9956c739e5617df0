"""Sine and cosine transforms on a processor, by SciPy: it has every type as a transform of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.fft
import torch
from torch import Tensor


def trigonometric_transform(x: Tensor, dims: Sequence[int], sine: bool, kind: int, norm: str) -> Tensor:
    run: Any = scipy.fft.dstn if sine else scipy.fft.dctn
    y = run(x.numpy(), type=kind, axes=tuple(dims), norm=norm, workers=torch.get_num_threads())
    found = torch.from_numpy(np.ascontiguousarray(y))
    return found if dims else found.clone()
