"""Corrections from users, kept to learn from."""
