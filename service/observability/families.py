"""Every metric there is: its name, its labels and what it means, as docs/reference/metrics.md tells them, too."""

from service.observability.tallies import Family

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Of whole requests."""
SHORT_SECONDS = (2e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 1.0, 10.0)
"""Of waiting and computing."""
CONFIDENCES = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
BATCH_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 1024)

TRIAL_COUNTS = {
    "requests": "Requests that the canary answered, or that were taken for the shadow.",
    "compared": "Images that both the candidate and the serving version have read.",
    "agreed": "Those on which both gave the same label.",
    "dropped": "Requests that were not compared, since comparing did not keep up.",
}
_VERSION = ("model", "version")

FAMILIES = (
    Family("glyphserve_requests", "counter", "Requests answered.", ("route", "method", "code")),
    Family("glyphserve_request_seconds", "histogram", "Time until an answer began, by its route.", ("route",), SECONDS),
    Family("glyphserve_requests_in_flight", "gauge", "Requests being answered, beside those of the fast path."),
    Family("glyphserve_event_streams", "gauge", "Open event streams of jobs."),
    Family(
        "glyphserve_queue_seconds",
        "histogram",
        "Time that a request, or the first of a batch, waited for its turn.",
        bounds=SHORT_SECONDS,
    ),
    Family("glyphserve_fast_path_errors", "counter", "Exceptions on the fast path; the application answered instead."),
    Family("glyphserve_compute_seconds", "histogram", "Time of the network for a batch.", bounds=SHORT_SECONDS),
    Family("glyphserve_batch_images", "histogram", "Images that the network read at once.", bounds=tuple(BATCH_IMAGES)),
    Family("glyphserve_predictions", "counter", "Images read, by answer.", ("model", "label")),
    Family("glyphserve_prediction_confidence", "histogram", "Confidence of the answers.", bounds=CONFIDENCES),
    Family("glyphserve_images_decoding", "gauge", "Images that wait to be decoded in a thread, or are being decoded."),
    Family("glyphserve_images_decoded", "counter", "Images decoded in a thread: all but small ones."),
    Family("glyphserve_images_rejected", "counter", "Images refused, by reason.", ("reason",)),
    Family(
        "glyphserve_damaged_objects",
        "gauge",
        "Objects of the store that were found damaged and are left out.",
        is_shared=True,
    ),
    Family("glyphserve_model_info", "gauge", "1 for the version that serves.", _VERSION, is_shared=True),
    Family("glyphserve_model_trouble", "gauge", "1 while the alias's version cannot be loaded.", is_shared=True),
    Family("glyphserve_model_swaps", "counter", "Versions taken into service."),
    Family("glyphserve_window_images", "gauge", "Images in the window that drift is measured over.", _VERSION),
    Family(
        "glyphserve_drift",
        "gauge",
        "Population stability index of the window against the training examples: ink (mass) or classes.",
        (*_VERSION, "feature"),
    ),
    Family("glyphserve_ink_mean", "gauge", "Mean ink mass (0 to 1) of the window.", _VERSION),
    Family("glyphserve_ink_baseline_mean", "gauge", "Mean ink mass of the training examples.", _VERSION),
    *(
        Family(f"glyphserve_trial_{name}", "counter", explanation, (*_VERSION, "mode"))
        for name, explanation in TRIAL_COUNTS.items()
    ),
)
