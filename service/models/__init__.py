"""Model versions: their store, the aliases that name them, and the one that answers."""
