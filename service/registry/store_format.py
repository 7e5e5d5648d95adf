"""The format version of a store. A release rejects a store of an unknown format.

    format.json    {"format": 1}

A store without this object has format 1: it predates the numbering. Additions (a field of a manifest, a new prefix) do
not change the format; changes that older releases cannot parse do.
"""

import json
from contextlib import suppress

from service.errors import Conflict
from service.json_objects import read_object
from service.registry.store import Store

FORMAT = 1
_KEY = "format.json"


def check_format(store: Store) -> None:
    """Refuse a store of an unknown format; write the number into a store that has none.

    Raises Conflict, Unavailable.
    """
    try:
        found = _parse(store.get(_KEY))
    except FileNotFoundError:
        found = FORMAT
        with suppress(FileExistsError):  # another process wrote it just now
            store.create(_KEY, json.dumps({"format": FORMAT}).encode())
    if found is None:
        raise Conflict("the store's format.json is damaged; this release would write format 1 there")
    if found > FORMAT:
        raise Conflict(f"the store has format {found}, written by a later release; this one supports up to {FORMAT}")


def _parse(content: bytes) -> int | None:
    try:
        found = read_object(content)["format"]
    except (ValueError, KeyError):
        return None
    return found if isinstance(found, int) and found > 0 else None
