"""Pairs of functions for training: windows, masks, query points, normalisation, symmetries, order."""
