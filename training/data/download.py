"""Downloads that resume where they broke off, from the first mirror that answers."""

import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path

from training.errors import DataError

Progress = Callable[[str, int, int], None]
"""Called with (file name, bytes so far, bytes in all or 0 where unknown)."""

BLOCK = 1 << 16
TIMEOUT_SECONDS = 20


def download(addresses: Sequence[str], target: Path, progress: Progress | None = None) -> None:
    """Fetch `target` from the first address that has it; what came of a broken download is gone on with.

    Raises DataError with every address and its reason when none answers.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for address in addresses:
        try:
            _fetch(address, target, progress)
            return
        except (OSError, HTTPException) as error:
            reasons.append(f"{address}: {error}")
    raise DataError(
        f"{target.name} is not here and could not be downloaded. Set GLYPHSERVE_DATA_DIR to a folder that has it, "
        f"put it into {target.parent}, or train on the bundled starter set. " + "; ".join(reasons)
    )


def _fetch(address: str, target: Path, progress: Progress | None) -> None:
    part = target.with_name(target.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 -- addresses are our own table's
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 -- as above
        resumed = answer.status == 206
        have = have if resumed else 0
        total = have + int(answer.headers.get("Content-Length") or 0)
        with part.open("ab" if resumed else "wb") as file:
            while block := answer.read(BLOCK):
                file.write(block)
                have += len(block)
                if progress:
                    progress(target.name, have, total)
    if have < total:
        raise ConnectionError(f"the connection broke after {have:,} of {total:,} bytes")
    part.replace(target)
