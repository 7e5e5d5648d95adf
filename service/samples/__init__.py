"""Corrections from users: stored as samples, for training."""
