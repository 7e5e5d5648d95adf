"""Stored model versions: objects, manifests, aliases and retention."""
