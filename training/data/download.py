"""Downloads that resume after interruptions and try several mirrors.

A file is named `.part` until it is complete and verified.
"""

import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path

from training.data.dataset import Progress
from training.errors import DataError

Check = Callable[[Path], None]
"""Raises DataError if the file is not the expected one."""

BLOCK = 1 << 16
TIMEOUT_SECONDS = 20


def download(addresses: Sequence[str], folder: Path, check: Check, progress: Progress | None = None) -> Path:
    """Download a file into `folder` from the first address whose content passes the check.

    Raises DataError with the reason for each address if none does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reasons = []
    for address in addresses:
        target = folder / address.rpartition("/")[2]
        part = target.with_name(target.name + ".part")
        try:
            _fetch_checked(address, part, check, progress)
        except (OSError, HTTPException, DataError) as error:
            reasons.append(f"{address}: {error}")
        else:
            return part.replace(target)
    raise DataError(
        f"{addresses[0].rpartition('/')[2]} is not here and could not be downloaded. Set GLYPHSERVE_DATA_DIR to a "
        f"folder that has it, put it into {folder}, or train on the bundled starter set. " + "; ".join(reasons)
    )


def _fetch_checked(address: str, part: Path, check: Check, progress: Progress | None) -> None:
    """Download and check. A file that fails is deleted, and downloaded again if it was resumed."""
    resumes = part.exists()
    _fetch(address, part, progress)
    try:
        check(part)
    except DataError:
        part.unlink()
        if not resumes:
            raise
        _fetch_checked(address, part, check, progress)


def _fetch(address: str, part: Path, progress: Progress | None) -> None:
    """Download everything, resuming after lost connections as long as each attempt makes progress."""
    while True:
        before = _size(part)
        try:
            _fetch_rest(address, part, progress)
        except (OSError, HTTPException):
            if _size(part) > before:
                continue
            raise
        return


def _fetch_rest(address: str, part: Path, progress: Progress | None) -> None:
    """Download the missing rest in one request (RFC 9110, section 14)."""
    have = _size(part)
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 -- the address is from our table or from the user
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310 -- as above
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and have:  # the file is complete
                return
            raise
    with response:
        resumed = response.status == 206
        have = have if resumed else 0
        total = have + int(response.headers.get("Content-Length") or 0)
        with part.open("ab" if resumed else "wb") as file:
            while block := response.read(BLOCK):
                file.write(block)
                have += len(block)
                if progress:
                    progress(part.stem, have, total)
    if have < total:
        raise ConnectionError(f"the connection broke after {have:,} of {total:,} bytes")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
