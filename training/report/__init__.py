"""Plots, measurements and model cards of trained networks."""
