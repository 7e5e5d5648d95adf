"""Named recipes: complete sets of settings for a training run, and what carries them out."""

from training.recipes.builtin import OWN, PUBLISHED, RECIPES, get

__all__ = ["OWN", "PUBLISHED", "RECIPES", "get"]
