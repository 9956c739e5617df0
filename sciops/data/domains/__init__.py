"""Where functions live: axes, grids, points, meshes; fields on them, and interpolation between them."""
