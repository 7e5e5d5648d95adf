"""All metric families: name, labels and help text. The table in docs/reference/metrics.md shows the same."""

from service.observability.counters import Family

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Buckets for the duration of requests."""
SHORT_SECONDS = (2e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 1.0, 10.0)
"""Buckets for queueing and inference."""
CONFIDENCES = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
BATCH_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 1024)

TRIAL_COUNTS = {
    "requests": "Requests answered by the canary or sampled for the shadow.",
    "compared": "Images predicted by both the candidate and the serving version.",
    "agreed": "Compared images for which both versions predicted the same label.",
    "dropped": "Requests not compared because the comparison queue was full.",
}
_VERSION = ("model", "version")

FAMILIES = (
    Family("glyphserve_requests", "counter", "Responses sent.", ("route", "method", "code")),
    Family("glyphserve_request_seconds", "histogram", "Time until the response started.", ("route",), SECONDS),
    Family("glyphserve_requests_in_flight", "gauge", "Requests in progress, without those on the fast path."),
    Family("glyphserve_event_streams", "gauge", "Open event streams of jobs."),
    Family(
        "glyphserve_queue_seconds",
        "histogram",
        "Time that a request, or the first request of a batch, waited in the queue.",
        bounds=SHORT_SECONDS,
    ),
    Family("glyphserve_fast_path_errors", "counter", "Exceptions on the fast path; the application responded instead."),
    Family("glyphserve_compute_seconds", "histogram", "Duration of inference for a batch.", bounds=SHORT_SECONDS),
    Family("glyphserve_batch_images", "histogram", "Images per batch.", bounds=tuple(BATCH_IMAGES)),
    Family("glyphserve_predictions", "counter", "Images predicted, by predicted label.", ("model", "label")),
    Family("glyphserve_prediction_confidence", "histogram", "Confidence of predictions.", bounds=CONFIDENCES),
    Family("glyphserve_images_decoding", "gauge", "Images queued or being decoded in decoder threads."),
    Family("glyphserve_images_decoded", "counter", "Images decoded in decoder threads; small images are not."),
    Family("glyphserve_images_rejected", "counter", "Images rejected, by error code.", ("reason",)),
    Family("glyphserve_damaged_objects", "gauge", "Damaged objects in the store, which are ignored.", is_shared=True),
    Family("glyphserve_model_info", "gauge", "1 for the serving version.", _VERSION, is_shared=True),
    Family("glyphserve_model_trouble", "gauge", "1 while the version of the alias fails to load.", is_shared=True),
    Family("glyphserve_model_swaps", "counter", "Times that the serving version was replaced."),
    Family("glyphserve_window_images", "gauge", "Images in the window that drift is computed over.", _VERSION),
    Family(
        "glyphserve_drift",
        "gauge",
        "Population stability index of the window against the training set, of mean intensity (ink) or classes.",
        (*_VERSION, "feature"),
    ),
    Family("glyphserve_ink_mean", "gauge", "Mean intensity (0 to 1) of the images in the window.", _VERSION),
    Family("glyphserve_ink_baseline_mean", "gauge", "Mean intensity (0 to 1) of the training set.", _VERSION),
    *(Family(f"glyphserve_trial_{name}", "counter", text, (*_VERSION, "mode")) for name, text in TRIAL_COUNTS.items()),
)
