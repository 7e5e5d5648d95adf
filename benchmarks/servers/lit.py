"""LitServe, as its documentation shows file uploads."""

import sys
from typing import Any

import litserve
from fastapi import Request

from benchmarks.servers.reading import read


class Reader(litserve.LitAPI):  # type: ignore[misc]  # it brings no types
    """Read digits."""

    def setup(self, device: str) -> None:
        """Load nothing: the network is there."""

    def decode_request(self, request: Request) -> bytes:
        """Take the file."""
        return bytes(request["file"].file.read())

    def predict(self, content: bytes) -> dict[str, Any]:
        """Read the digit."""
        return read(content)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Answer."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(Reader(), accelerator="cpu", workers_per_device=1)
    server.run(port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False, log_level="warning")
