"""Draw random functions of several kinds, and check the covariance of a Gaussian field against its kernel."""

import torch

from sciops.data import Grid
from sciops.data.random import GaussianRandomField, LevelSet, Matern, PiecewiseConstant, PowerLaw, Series

grid = Grid.unit(48, 48, kind="cell")
rock = GaussianRandomField(grid, Matern(1.5, length=0.2), mean=1.0)
phases = PiecewiseConstant.with_fractions(rock, fractions=[0.7, 0.3], levels=[3.0, 12.0])
discs = LevelSet(grid, count=6, radius=(0.05, 0.1), overlap=False)
for name, function in {"Matern field": rock, "two phases": phases, "discs": discs}.items():
    field = function.sample(400, generator=0)
    print(f"{name}: {tuple(field.values.shape)}, mean {float(field.values.mean()):.3f}")
    if function is phases:
        share = float((field.values == 12.0).double().mean())
        assert abs(share - 0.3) < 0.03, share

# what is sampled, from the sampler itself, not from samples
small = GaussianRandomField(Grid.unit(20, 15), Matern(1.5, length=0.2))
difference = float((small.sampled_covariance() - small.covariance()).abs().max())
print(f"largest error of the covariance: {difference:.1e}")
assert difference < 1e-10, difference

# the same function of space on two grids
law = PowerLaw(alpha=2, tau=3)
coarse, fine = (
    GaussianRandomField(Grid.unit(n, n), law, method=Series(modes=40)).sample(2, 5).values for n in (33, 65)
)
assert torch.allclose(fine[..., ::2, ::2], coarse, atol=1e-12)
