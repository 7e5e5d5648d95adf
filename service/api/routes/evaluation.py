"""How a version reads what was held out, over HTTP: its confusions and the pictures that it misreads."""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from service.api.dependencies import NamePath, ServicesDep, VersionPath
from service.api.schemas import ComparisonInfo, EvaluationInfo, Misclassification
from service.errors import UnprocessableContent
from service.inference.explain import png_base64
from service.jobs.evaluation import Evaluation, StillEvaluatingError
from service.schemas import MAX_VERSION

router = APIRouter(prefix="/models/{name}/versions/{version}", tags=["models"])

_MOST_LABELS = 100


class EvaluationPending(BaseModel):
    """An evaluation that is being worked out."""

    detail: str


_PENDING: dict[int | str, dict[str, Any]] = {
    202: {"model": EvaluationPending, "description": "It is being worked out: ask again after `Retry-After` seconds."}
}


@router.get("/evaluation", response_model=EvaluationInfo, responses=_PENDING)
def get_evaluation(
    name: NamePath,
    version: VersionPath,
    services: ServicesDep,
    against: Annotated[
        int | None, Query(ge=1, le=MAX_VERSION, description="Compare with this version, on the same examples.")
    ] = None,
    most: Annotated[int, Query(ge=0, le=200, description="Most misread examples in the answer.")] = 40,
) -> Any:
    """Show how a version reads examples that were held out: a confusion matrix, and what it misreads.

    Worked out when it is first asked for, which takes a second or two; a folder of many images that is read for the
    first time takes longer, and until then the answer is 202. 404 where no such examples are here.
    """
    try:
        mine = services.evaluations.get(name, version)
        other = None if against is None else services.evaluations.get(name, against)
    except StillEvaluatingError:
        pending = EvaluationPending(detail="the held-out examples are being read; ask again")
        return JSONResponse(pending.model_dump(), 202, {"Retry-After": "2"})
    if other and not mine.is_comparable(other):
        raise UnprocessableContent("the two versions are not held against the same examples", field="against")
    labels = mine.examples.classes
    return EvaluationInfo(
        model=name,
        version=version,
        data=mine.examples.name,
        examples=len(mine.examples),
        accuracy=mine.accuracy,
        calibration_error=mine.calibration_error,
        doubt=mine.caveat,
        labels=list(labels),
        confusion=mine.confusion.tolist() if len(labels) <= _MOST_LABELS else None,
        misread_count=len(mine.wrong),
        misread=_misread(mine, other, most),
        against=_compared(mine, other, against) if other and against else None,
    )


def _misread(mine: Evaluation, other: Evaluation | None, most: int) -> list[Misclassification]:
    rows, examples = mine.wrong, mine.examples
    if other:  # a stable sort: among each kind, the surest still come first
        rows = rows[np.argsort(np.isin(rows, other.wrong), kind="stable")]
    return [
        Misclassification(
            example=row,
            image=png_base64(examples.images[row]),
            label=examples.classes[examples.labels[row]],
            answer=examples.classes[mine.predicted[row]],
            confidence=round(float(mine.confidences[row]), 6),
            against=examples.classes[other.predicted[row]] if other else None,
        )
        for row in rows[:most].tolist()
    ]


def _compared(mine: Evaluation, other: Evaluation, version: int) -> ComparisonInfo:
    both = len(np.intersect1d(mine.wrong, other.wrong))
    return ComparisonInfo(
        version=version,
        accuracy=other.accuracy,
        both=both,
        this_alone=len(mine.wrong) - both,
        other_alone=len(other.wrong) - both,
    )
