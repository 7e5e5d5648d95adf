"""Readers of bytes, each alone: changed inputs, held against the slow ordinary way of reading the same."""
