"""The answers of the sample routes, as the OpenAPI description shows them."""

from service.schemas import Answer


class SampleSource(Answer):
    """Where a sample came from."""

    request_id: str
    """The request that showed the picture."""
    version: int | None
    """The version that read it."""
    answered: str | None
    """What that version took it for."""
    confidence: float | None
    """How sure it was."""
    key_id: str | None
    """The key of whoever sent the label, where keys are asked for."""
    key_name: str | None
    """Its name."""


class SampleLabel(Answer):
    """A label that a sample was given."""

    label: str
    since: str


class SampleInfo(Answer):
    """A picture with its right label."""

    id: str
    """Of the picture: the same picture is the same sample."""
    model: str
    label: str
    since: str
    source: SampleSource
    history: list[SampleLabel]
    """All labels that it was given, the present one first."""
    picture: str
    """Where its picture is, below the service's address: a gray 28×28 PNG."""


class ListedSample(Answer):
    """A sample in a list."""

    id: str
    label: str
    since: str


class SampleList(Answer):
    """Samples, those labelled last first."""

    model: str
    count: int
    """Of all samples of the model."""
    bytes: int
    """That they take in the store."""
    counts: dict[str, int]
    """By label."""
    samples: list[ListedSample]
    next: str | None
    """Send it as `after` for the next page; null on the last."""


class DeletedSamples(Answer):
    """How many samples were deleted, or lost the labels of one sender."""

    deleted: int
