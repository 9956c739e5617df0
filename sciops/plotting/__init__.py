"""Figures of data sets and predictions, in one style: fields, their errors, training curves.

Every function takes data sets by the conventions of :func:`sciops.data.open`, returns a matplotlib `Figure` that no
window shows, and writes it where `path` is given. Truth and prediction share their colour limits; errors have a
diverging map that is symmetric about zero. matplotlib is imported when a figure is drawn.
"""

from sciops.plotting.figures import compare, demo_figure, info_plot, training_curve

__all__ = ["compare", "demo_figure", "info_plot", "training_curve"]
