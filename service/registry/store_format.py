"""The form in which a store is written, so that a release that does not know it refuses it instead of misreading it.

    format.json    {"format": 1}

A store without one is of the first form: it was written before the forms were numbered. What a later release only adds
(a field of a manifest, a new folder) is no new form; what an earlier one would misread is.
"""

import json
from contextlib import suppress

from service.errors import Conflict
from service.json_objects import read_object
from service.registry.store import Store

FORMAT = 1
_KEY = "format.json"


def check_format(store: Store) -> None:
    """Refuse a store of a form that this release does not know; number one that has no number yet.

    Raises Conflict, Unavailable.
    """
    try:
        found = _parsed(store.get(_KEY))
    except FileNotFoundError:
        found = FORMAT
        with suppress(FileExistsError):  # another process, in this moment
            store.create(_KEY, json.dumps({"format": FORMAT}).encode())
    if found is None:
        raise Conflict("the store's format.json is damaged; of this release it would say format 1")
    if found > FORMAT:
        raise Conflict(
            f"the store has format {found}, written by a later release; this one knows formats up to {FORMAT}"
        )


def _parsed(content: bytes) -> int | None:
    try:
        found = read_object(content)["format"]
    except (ValueError, KeyError):
        return None
    return found if isinstance(found, int) and found > 0 else None
