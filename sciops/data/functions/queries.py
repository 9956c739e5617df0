"""Some nodes of a domain, drawn for each item, with weights that keep the quadrature unbiased."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sciops.data.domains.domain import Domain, node_table
from sciops.data.functions.sampling import stream_seed
from sciops.data.functions.windows import check_whole
from sciops.errors import DataError, InputError


@dataclass(frozen=True)
class QueryPoints:
    r"""A number of nodes of a domain for each item, all different, each set of that many as likely as any other.

    With N nodes to choose from and n drawn, the weights are :math:`w_i N / n`, so that
    :math:`E \sum_{i \in S} (N/n) w_i f_i = \sum_i w_i f_i` for every f (Horvitz and Thompson, 1952).

    Parameters
    ----------
    domain
        Where the values stand.
    count
        Nodes of an item.
    seed
        The nodes are a pure function of (seed, epoch, item).

    Raises
    ------
    InputError
        If there are fewer nodes.

    Examples
    --------
    >>> from sciops.data.domains.domain import Grid
    >>> query = QueryPoints(Grid.unit(8, 8), 5)
    >>> nodes, weights = query.draw(np.array([3, 4]), epoch=0)
    >>> nodes.shape, weights.shape, query.at(nodes).shape
    (torch.Size([2, 5]), torch.Size([2, 5]), torch.Size([2, 5, 2]))
    """

    domain: Domain
    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        nodes = int(np.prod(self.domain.shape))
        check_whole("query_points", self.count)
        if not 1 <= self.count <= nodes:
            raise InputError(f"query_points is {self.count}; the outputs stand on {nodes} nodes, ask for 1 to {nodes}")

    def draw(
        self, items: Int64[np.ndarray, " b"], *, epoch: int, mask: Tensor | None = None
    ) -> tuple[Int64[Tensor, "b n"], Float[Tensor, "b n"]]:
        """Numbers of the nodes (of the flattened domain) of each item, and their weights in float64.

        Parameters
        ----------
        items
            Item numbers.
        epoch
            The epoch: other nodes in each.
        mask
            Bool (b, 1, *space): nodes to choose from.

        Raises
        ------
        DataError
            If an item has fewer nodes in its mask than are drawn.
        """
        total = int(np.prod(self.domain.shape))
        inside = None if mask is None else mask.flatten(1).numpy()
        chosen = np.empty((len(items), self.count), dtype=np.int64)
        factors = np.full((len(items), 1), total / self.count)
        for row, item in enumerate(items.tolist()):
            generator = np.random.Generator(np.random.PCG64(stream_seed("query", self.seed, epoch, item)))
            if inside is None:
                chosen[row] = generator.choice(total, self.count, replace=False, shuffle=False)
                continue
            nodes = np.flatnonzero(inside[row])
            if len(nodes) < self.count:
                raise DataError(
                    f"item {item} has {len(nodes)} nodes in its mask, and query_points is {self.count}; ask for fewer"
                )
            chosen[row] = nodes[generator.choice(len(nodes), self.count, replace=False, shuffle=False)]
            factors[row] = len(nodes) / self.count
        numbers = torch.from_numpy(chosen)
        return numbers, self.domain.weights().flatten()[numbers] * torch.from_numpy(factors)

    def at(self, nodes: Int64[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """The coordinates of nodes, in float64."""
        return node_table(self.domain)[nodes]
