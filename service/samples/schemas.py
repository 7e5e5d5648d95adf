"""Response bodies of the sample routes."""

from service.schemas import ResponseModel


class SampleSource(ResponseModel):
    """Where a sample came from."""

    request_id: str
    """The request with the image."""
    version: int | None
    """The version that predicted it."""
    answered: str | None
    """The label that this version predicted."""
    confidence: float | None
    """The confidence of that prediction."""
    key_id: str | None
    """The API key that submitted the label, if keys are required."""
    key_name: str | None
    """The name of that key."""


class SampleLabel(ResponseModel):
    """A label of a sample."""

    label: str
    since: str


class SampleInfo(ResponseModel):
    """An image with its correct label."""

    id: str
    """Hash of the image: the same image is the same sample."""
    model: str
    label: str
    since: str
    source: SampleSource
    history: list[SampleLabel]
    """The labels of the sample, the current one first."""
    picture: str
    """URL path of the image, a 28×28 grayscale PNG."""


class ListedSample(ResponseModel):
    """A sample in a list."""

    id: str
    label: str
    since: str


class SampleList(ResponseModel):
    """A page of samples, the most recently labelled first."""

    model: str
    count: int
    """Number of all samples of the model."""
    bytes: int
    """Size of all samples in the store."""
    counts: dict[str, int]
    """Number of samples by label."""
    samples: list[ListedSample]
    next: str | None
    """Value of `after` for the next page; null on the last page."""


class DeletedSamples(ResponseModel):
    """Number of samples that were deleted, or whose labels by one sender were."""

    deleted: int
