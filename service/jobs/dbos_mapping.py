"""Jobs as DBOS workflows: records parsed into `Job`, and listed page by page, newest first.

A cursor is the creation time of a job in milliseconds and its id: `1764396000000-job-0f3c…`. The next page continues
below it, even if newer jobs were added or the job of the cursor was deleted.
"""

import json
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from service.errors import InvalidInput
from service.jobs.job import Job, JobRequest, Progress
from service.json_objects import read_object
from training.stored import of_known_fields

if TYPE_CHECKING:
    from dbos import WorkflowStatus

log = logging.getLogger(__name__)

PROGRESS, RETURNED = "progress", "returned"
"""The attributes of a workflow that are ours: how far it is, and how often a worker gave it back."""

_STATES = {"ENQUEUED": "queued", "DELAYED": "queued", "PENDING": "running", "CANCELLED": "cancelled"}

_PLACE = re.compile(r"([0-9]{1,13})-([A-Za-z0-9-]{1,100})")
_MORE = 3
"""Read beyond a page: whether there is another, the job of the place itself, one of the next millisecond."""


@dataclass(frozen=True)
class RunningJob:
    """A job that a worker has taken: which, and when it last gave a sign of life, by the database's clock."""

    job_id: str
    executor_id: str
    heartbeat_at: int
    returned: int


def running_from_workflow(status: "WorkflowStatus") -> RunningJob:
    """Read who has taken a job from its workflow's record."""
    returned = (status.attributes or {}).get(RETURNED, 0)
    return RunningJob(status.workflow_id, status.executor_id or "", status.updated_at or 0, returned)


def job_from_workflow(status: "WorkflowStatus") -> Job:
    """Read a job from its workflow's record."""
    arguments: Any = status.input or {}
    attributes: dict[str, Any] = status.attributes or {}
    outcome = status.output if isinstance(status.output, dict) else {}
    state = _STATES.get(status.status) or outcome.get("state", "failed")
    detail = outcome.get("detail")
    if state == "failed" and not outcome:
        detail = "the worker failed; its log says why"
    return Job(
        id=status.workflow_id,
        state=state,
        request=of_known_fields(JobRequest, arguments["args"][0]),
        created=_time(status.created_at) or "",
        started=_time(status.dequeued_at),
        finished=_time(status.completed_at),
        attempts=status.recovery_attempts or 0,
        progress=of_known_fields(Progress, _object(attributes.get(PROGRESS, "{}"))),
        version=outcome.get("version"),
        promoted=bool(outcome.get("promoted")),
        detail=detail,
        returned=attributes.get(RETURNED, 0),
        figures=outcome.get("figures", {}),
    )


def jobs_from_workflows(found: Iterable["WorkflowStatus"]) -> list[Job]:
    """Read the jobs whose records can be read; one that is damaged hides no other, and is logged."""
    jobs = []
    for status in found:
        try:
            jobs.append(job_from_workflow(status))
        except (TypeError, KeyError, IndexError, ValueError, AttributeError) as error:
            log.error("the record of the job %s is damaged, and left out: %s", status.workflow_id, type(error).__name__)
    return jobs


def _object(content: Any) -> dict[str, Any]:
    """Read an attribute; a damaged one counts as empty."""
    try:
        return read_object(content.encode())
    except (AttributeError, ValueError):
        return {}


def json_serializer() -> Any:
    """DBOS pickles by default; what is in our database shall be readable, and never code."""
    from dbos import Serializer

    class JsonSerializer(Serializer):  # type: ignore[misc, unused-ignore]
        def name(self) -> str:
            return "json"

        def serialize(self, data: Any) -> str:
            return json.dumps(data, default=str)

        def deserialize(self, serialized_data: str) -> Any:
            return json.loads(serialized_data)

    return JsonSerializer()


def _time(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


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
