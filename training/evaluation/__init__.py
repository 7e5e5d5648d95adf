"""Metrics, evaluation, calibration and attribution of trained networks."""
