"""glyphserve's serving half: HTTP, models and jobs around the networks of `training`."""
