"""A page of jobs, newest first.

A place in the list is the millisecond in which a job was created and its id: `1764396000000-job-0f3c…`. A page goes on
below a place, also when others came on top meanwhile, or when the job of that place is gone.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from service.errors import InvalidInput

if TYPE_CHECKING:
    from dbos import WorkflowStatus

_PLACE = re.compile(r"([0-9]{1,13})-([A-Za-z0-9-]{1,100})")
_MORE = 3
"""Read beyond a page: whether there is another, the job of the place itself, one of the next millisecond."""


def read_page(
    listed: "Callable[..., list[WorkflowStatus]]", limit: int, after: str | None
) -> "tuple[list[WorkflowStatus], str | None]":
    """Read a page of records, and give the place that the next one goes on after: None on the last.

    `listed` gives the newest `limit` records of those created until `end_time` (ISO 8601). Raises InvalidInput.
    """
    below = _parsed(after) if after is not None else None
    most = limit + _MORE
    while True:
        # A millisecond later than the place: DBOS calculates with floats.
        found = listed(limit=most, end_time=_time(below[0] + 1) if below else None)
        rest = sorted((s for s in found if below is None or _place(s) < below), key=_place, reverse=True)
        page = rest[:limit]
        # Records of one millisecond come in any order: of the last one that was read, some may be missing.
        if len(found) < most or (len(rest) > limit and _place(page[-1])[0] > _place(found[-1])[0]):
            break
        most *= 2
    return page, "{}-{}".format(*_place(page[-1])) if len(rest) > limit else None


def _place(status: "WorkflowStatus") -> tuple[int, str]:
    return status.created_at or 0, status.workflow_id


def _parsed(place: str) -> tuple[int, str]:
    found = _PLACE.fullmatch(place)
    if found is None:
        raise InvalidInput("after must be the `next` of the page before", field="after")
    return int(found[1]), found[2]


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()
