"""SampleStore over HTTP: pictures that users have put right, for the next training."""

import asyncio
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.convertors import StringConvertor, register_url_convertor

from service.api.dependencies import RequestIdDep, ServicesDep
from service.api.keys import parse_key
from service.api.routes.image_payload import decoded, opened
from service.api.routes.sample_payload import OPENAPI, SampleSubmission, parse_submission
from service.errors import ServiceError, UnprocessableContent, attempt
from service.inference.images import LazyImage
from service.registry.aliases import NAME
from service.samples.export import write_zip
from service.samples.sample import Provenance, Sample
from service.samples.schemas import DeletedSamples, ListedSample, SampleInfo, SampleLabel, SampleList, SampleSource
from service.samples.store import Entry, count_by_label, sample_filter
from service.serving.model import ServingModel
from training.types import Pixels


class SampleIdConvertor(StringConvertor):
    """An id in an address: `DELETE /samples/export` is a wrong method, not a wrong id."""

    regex = "(?!export$)[^/]+"


register_url_convertor("sample_id", SampleIdConvertor())

router = APIRouter(prefix="/samples", tags=["samples"])

_CHUNK_BYTES = 64 * 1024
_IN_MEMORY_BYTES = 8 * 1024**2
_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}
_ZIP: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
}
_PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
}

_PLACE = "^[0-9]{16,19}-[0-9a-f]{32}$"
LabelQuery = Annotated[str | None, Query(max_length=64, description="Only samples with this label.")]
SampleId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


def _model(
    services: ServicesDep,
    model: Annotated[
        str | None, Query(pattern=f"^{NAME.pattern}$", description="Of another model than the serving one.")
    ] = None,
) -> str:
    return model or services.settings.model


ModelDep = Annotated[str, Depends(_model)]


@router.post("", status_code=201, openapi_extra=OPENAPI, responses={200: {"model": SampleInfo}})
async def add_sample(
    request: Request,
    response: Response,
    services: ServicesDep,
    request_id: RequestIdDep,
    model: ModelDep,
    label: Annotated[str | None, Query(description="The right label, where the body is an image alone.")] = None,
) -> SampleInfo:
    """Send an image with its right label, or put a prediction right by its request id.

    A correction by request id is one of the model that answered. 201 for a new sample or a new label, 200 when the
    picture has that label already: it is counted once.
    """
    submission = await parse_submission(request, services, label)
    seen, version = None, None
    if submission.reader is None:  # to be learned by the model that answered, of which the version knows the labels
        seen = services.recent.get(submission.request_id or "", submission.place)
        if seen.model != model and "model" in request.query_params:
            raise UnprocessableContent(
                f"that request was answered by the model {seen.model}; leave model out", field="request_id"
            )
        model, version = seen.model, seen.version
    snapshot = await asyncio.to_thread(services.predictor.get, model, version)
    if submission.label not in snapshot.labels:
        known = ", ".join(snapshot.labels[:50])
        raise UnprocessableContent(f"{snapshot.model} has no such label; it knows {known}", field="label")
    if seen is not None:
        glyph = seen.glyph
        source = Provenance(submission.request_id or "", seen.version, seen.label, seen.confidence)
    else:
        glyph = await _glyph(request, services, submission)
        source = await asyncio.to_thread(_source, glyph, snapshot, request_id)
    if key := services.authorizer.key(request.headers.get("authorization", "").encode("latin-1")):
        source = replace(source, key_id=key.id, key_name=key.name or None)
    sample, is_new = await asyncio.to_thread(services.samples.add, model, glyph, submission.label, source)
    response.status_code = 201 if is_new else 200
    # As seen from here, whatever prefix a proxy has taken off.
    response.headers["Location"] = f"samples/{sample.id}?model={sample.model}"
    return _info(sample)


async def _glyph(request: Request, services: ServicesDep, submission: SampleSubmission) -> Pixels:
    """Read the image. Raises the errors of images, Unavailable when that would take too long."""
    assert submission.reader  # noqa: S101 -- for the type checker
    read = await opened(request, submission.reader)
    if not isinstance(read, LazyImage):
        return read
    (glyph,) = await decoded(request, services, [(read.pixels, partial(attempt, read.to_glyph))])
    if isinstance(glyph, ServiceError):
        raise glyph
    return glyph


def _source(glyph: Pixels, snapshot: ServingModel, request_id: str) -> Provenance:
    """Let the network read the image, too: what it answers belongs to the sample's story."""
    probabilities = snapshot.predict(glyph[None])[0]
    place = int(probabilities.argmax())
    return Provenance(request_id, snapshot.version, snapshot.labels[place], round(float(probabilities[place]), 6))


@router.get("")
def list_samples(
    services: ServicesDep,
    model: ModelDep,
    label: LabelQuery = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most samples in one answer.")] = 100,
    after: Annotated[str | None, Query(pattern=_PLACE, description="The `next` of the page before.")] = None,
) -> SampleList:
    """List samples, those labelled last first, and count them by label."""
    entries, size = services.samples.list_with_size(model)
    wanted = [entry for entry in entries if label is None or entry.label == label]
    rest = [entry for entry in wanted if after is None or _place(entry) < after]
    page = rest[:limit]
    return SampleList(
        model=model,
        count=len(entries),
        bytes=size,
        counts=count_by_label(entries),
        samples=[ListedSample(id=entry.sample_id, label=entry.label, since=entry.since) for entry in page],
        next=_place(page[-1]) if len(rest) > len(page) else None,
    )


@router.delete("")
def delete_samples(
    services: ServicesDep,
    model: ModelDep,
    label: LabelQuery = None,
    older_than_days: Annotated[float | None, Query(ge=0, le=36_500, description="Labelled so long ago.")] = None,
    key_name: Annotated[
        str | None, Query(min_length=1, max_length=80, description="Sent by a key of this name, or of this id.")
    ] = None,
    everything: Annotated[bool, Query(description="Needed when nothing else is given.")] = False,
) -> DeletedSamples:
    """Delete samples by label, by age, by who sent them, by several of these, or all. Nothing brings them back.

    By `key_name` the labels go that the key sent: a label that another sent before counts again.
    """
    if label is None and older_than_days is None and key_name is None and not everything:
        raise UnprocessableContent("say label, older_than_days, key_name, or everything=true", field="everything")
    if key_name and parse_key(key_name):
        raise UnprocessableContent("say the key's name or its id, not the key itself", field="key_name")
    known = services.samples.list(model) if older_than_days is not None else []
    choose = sample_filter(label, older_than_days, known)
    if key_name is None:
        return DeletedSamples(deleted=services.samples.delete(model, choose))
    key_ids = services.authorizer.ids_named(key_name)
    return DeletedSamples(deleted=services.samples.delete_sent(model, key_name, key_ids, choose))


@router.get("/export", response_class=StreamingResponse, responses=_ZIP)
def export_samples(services: ServicesDep, model: ModelDep) -> StreamingResponse:
    """Download all samples as a zip of an image folder: a folder a label, and `samples.json` with their sources."""
    file = SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 -- closed when it was sent
    try:
        write_zip(services.samples.read_all(model), file)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    headers = {"Content-Disposition": f'attachment; filename="{model}-samples.zip"'}
    return StreamingResponse(_chunks(file), media_type="application/zip", headers=headers)


@router.get("/{sample_id:sample_id}")
def get_sample(sample_id: SampleId, services: ServicesDep, model: ModelDep) -> SampleInfo:
    """Show a sample: its labels, and where it came from."""
    return _info(services.samples.get(model, sample_id))


@router.get("/{sample_id:sample_id}/picture.png", response_class=Response, responses=_PNG)
def get_picture(sample_id: SampleId, services: ServicesDep, model: ModelDep) -> Response:
    """Show a sample's picture as the network sees it: 28×28, gray."""
    return Response(services.samples.get(model, sample_id).picture, media_type="image/png", headers=_FOR_EVER)


@router.delete("/{sample_id:sample_id}", status_code=204, response_class=Response)
def delete_sample(sample_id: SampleId, services: ServicesDep, model: ModelDep) -> Response:
    """Delete a sample with all its labels."""
    services.samples.get(model, sample_id)
    services.samples.delete(model, lambda entry: entry.sample_id == sample_id)
    return Response(status_code=204)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_CHUNK_BYTES):
            yield piece


def _place(entry: Entry) -> str:
    """Where an entry stands in the list, newest first: pages go on below it, also when others came on top."""
    return f"{entry.timestamp:016d}-{entry.sample_id}"


def _info(sample: Sample) -> SampleInfo:
    return SampleInfo(
        id=sample.id,
        model=sample.model,
        label=sample.label,
        since=sample.since,
        source=SampleSource(**asdict(sample.source)),
        history=[SampleLabel(label=label.label, since=label.since) for label in sample.history],
        picture=f"/samples/{sample.id}/picture.png?model={sample.model}",
    )
