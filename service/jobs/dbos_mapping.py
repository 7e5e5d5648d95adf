"""Jobs as DBOS workflows: records parsed into `Job`, and listed page by page, newest first.

A cursor is the creation time of a job in milliseconds and its id: `1764396000000-job-0f3c…`. The next page continues
below it, even if newer jobs were added or the job of the cursor was deleted.
"""

import json
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from service.errors import UnprocessableContent
from service.jobs.job import Job, JobRequest, Progress
from service.json_objects import read_object
from training.stored import of_known_fields

if TYPE_CHECKING:
    from dbos import WorkflowStatus

log = logging.getLogger(__name__)

PROGRESS, REQUEUES = "progress", "returned"
"""Names of our workflow attributes: the job's progress, and how often a worker has returned it to the queue."""

_STATES = {"ENQUEUED": "queued", "DELAYED": "queued", "PENDING": "running", "CANCELLED": "cancelled"}
_CURSOR = re.compile(r"([0-9]{1,13})-([A-Za-z0-9-]{1,100})")
_EXTRA_RECORDS = 3
"""Records read beyond a page: one of the next page, the job of the cursor itself, and one of the next millisecond."""


@dataclass(frozen=True)
class RunningJob:
    """A job that a worker holds, and its last heartbeat by the clock of the database."""

    job_id: str
    executor_id: str
    heartbeat_at: int
    requeues: int


def running_from_workflow(status: "WorkflowStatus") -> RunningJob:
    """Return the job and its worker from a workflow's record."""
    requeues = (status.attributes or {}).get(REQUEUES, 0)
    return RunningJob(status.workflow_id, status.executor_id or "", status.updated_at or 0, requeues)


def job_from_workflow(status: "WorkflowStatus") -> Job:
    """Parse a workflow's record."""
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
        created=_iso_time(status.created_at) or "",
        started=_iso_time(status.dequeued_at),
        finished=_iso_time(status.completed_at),
        attempts=status.recovery_attempts or 0,
        progress=_parse_progress(attributes.get(PROGRESS, "{}")),
        version=outcome.get("version"),
        promoted=bool(outcome.get("promoted")),
        detail=detail,
        requeues=attributes.get(REQUEUES, 0),
        metrics=outcome.get("figures", {}),
    )


def jobs_from_workflows(found: Iterable["WorkflowStatus"]) -> list[Job]:
    """Parse workflows' records; log and skip damaged ones."""
    jobs = []
    for status in found:
        try:
            jobs.append(job_from_workflow(status))
        except (TypeError, KeyError, IndexError, ValueError, AttributeError) as error:
            log.error("the record of the job %s is damaged and skipped: %s", status.workflow_id, type(error).__name__)
    return jobs


def progress_to_json(progress: Progress) -> str:
    """Serialize progress for the workflow attribute, with the field names of all releases."""
    fields = asdict(progress)
    fields["deaths"] = fields.pop("trainer_crashes")
    return json.dumps(fields)


def _parse_progress(content: Any) -> Progress:
    """Parse the workflow attribute; a damaged one counts as empty."""
    try:
        fields = read_object(content.encode())
    except (AttributeError, ValueError):
        fields = {}
    return of_known_fields(Progress, fields | {"trainer_crashes": fields.get("deaths", 0)})


def json_serializer() -> Any:
    """Return a serializer that stores readable JSON instead of pickles, which could run code."""
    from dbos import Serializer

    class JsonSerializer(Serializer):  # type: ignore[misc, unused-ignore]
        def name(self) -> str:
            return "json"

        def serialize(self, data: Any) -> str:
            return json.dumps(data, default=str)

        def deserialize(self, serialized_data: str) -> Any:
            return json.loads(serialized_data)

    return JsonSerializer()


def read_page(
    list_workflows: "Callable[..., list[WorkflowStatus]]", limit: int, after: str | None
) -> "tuple[list[WorkflowStatus], str | None]":
    """Read a page of records; return it and the cursor of the next page, None on the last. Raises UnprocessableContent.

    `list_workflows` returns the newest `limit` records of those created until `end_time` (ISO 8601).
    """
    cursor = _parse_cursor(after) if after is not None else None
    count = limit + _EXTRA_RECORDS
    while True:
        # One millisecond later than the cursor, since DBOS calculates with floats.
        found = list_workflows(limit=count, end_time=_iso_time(cursor[0] + 1) if cursor else None)
        rest = sorted((s for s in found if cursor is None or _cursor(s) < cursor), key=_cursor, reverse=True)
        page = rest[:limit]
        # DBOS does not order records of the same millisecond: some of the last one may be missing.
        if len(found) < count or (len(rest) > limit and _cursor(page[-1])[0] > _cursor(found[-1])[0]):
            break
        count *= 2
    return page, "{}-{}".format(*_cursor(page[-1])) if len(rest) > limit else None


def _cursor(status: "WorkflowStatus") -> tuple[int, str]:
    return status.created_at or 0, status.workflow_id


def _parse_cursor(text: str) -> tuple[int, str]:
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise UnprocessableContent("after must be the `next` of the page before", field="after")
    return int(match[1]), match[2]


def _iso_time(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
