"""A job as DBOS keeps it, read in our words."""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from service.jobs.job import Job, JobRequest, Progress
from service.json_objects import read_object
from training.stored import of_known_fields

if TYPE_CHECKING:
    from dbos import WorkflowStatus

log = logging.getLogger(__name__)

PROGRESS, RETURNED = "progress", "returned"
"""The attributes of a workflow that are ours: how far it is, and how often a worker gave it back."""

_STATES = {"ENQUEUED": "queued", "DELAYED": "queued", "PENDING": "running", "CANCELLED": "cancelled"}


@dataclass(frozen=True)
class Running:
    """A job that a worker has taken: which, and when it last gave a sign of life, by the database's clock."""

    job_id: str
    executor_id: str
    sign_of_life: int
    returned: int


def read_running(status: "WorkflowStatus") -> Running:
    """Read who has taken a job from its workflow's record."""
    returned = (status.attributes or {}).get(RETURNED, 0)
    return Running(status.workflow_id, status.executor_id or "", status.updated_at or 0, returned)


def read_job(status: "WorkflowStatus") -> Job:
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


def read_jobs(found: Iterable["WorkflowStatus"]) -> list[Job]:
    """Read the jobs whose records can be read; one that is damaged hides no other, and is logged."""
    jobs = []
    for status in found:
        try:
            jobs.append(read_job(status))
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
