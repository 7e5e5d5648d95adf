"""BentoML, as its documentation shows file uploads."""

from pathlib import Path
from typing import Any

import bentoml

from benchmarks.servers.reading import read


@bentoml.service(workers=1)  # type: ignore[misc]  # it brings no types
class Reader:
    """Read digits."""

    @bentoml.api  # type: ignore[misc]
    def predict(self, file: Path) -> dict[str, Any]:
        """Read the digit."""
        return read(file.read_bytes())
