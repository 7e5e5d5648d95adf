"""A search: its trials are jobs that any worker may do, and the best of them becomes the version.

jobs/<search id>/<trial id>.npz, .json    the weights and the manifest of each trial, until the search has ended
"""

import json
import time
from collections.abc import Sequence
from typing import Any

from service.jobs.job import Job, chosen, rank
from service.jobs.queue import Jobs
from service.jobs.runner import Workplace, patiently, train_patiently
from service.jobs.trainer_process import StoppedError, TrainingFailedError, Watch
from service.json_objects import read_object

_ASK_SECONDS = 0.5


def run_trial(place: Workplace, jobs: Jobs, job: Job, watch: Watch) -> dict[str, Any]:
    """Train, leave the result for the search to find, and answer how good it is. Raises TrainingFailedError."""
    search = str(job.request.trial_of)
    if patiently(lambda: jobs.has_ended(search)):
        raise StoppedError("its search has ended")
    details, weights = train_patiently(place, job.request, job.id, watch, strikes=job.strikes)
    store, key = place.registry.store, f"jobs/{search}/{job.id}"
    patiently(lambda: store.put(f"{key}.npz", weights), watch)
    patiently(lambda: store.put(f"{key}.json", json.dumps(details).encode()), watch)
    metrics = details["metrics"]
    figures = {"accuracy": metrics.get("validation_accuracy"), "loss": metrics.get("validation_loss")}
    return figures | {"epochs": metrics["epochs"], "seconds": metrics["seconds"]}


def search_and_publish(place: Workplace, jobs: Jobs, job: Job, watch: Watch) -> int:
    """Wait for the trials, and publish the best under the search's id; answer the version.

    Raises StoppedError when it was cancelled, TrainingFailedError when no trial came to a result.
    """
    patiently(lambda: jobs.queue_trials(job.id, job.request), watch)
    best = _best(_ended_trials(jobs, job, watch))
    store, key = place.registry.store, f"jobs/{job.id}/{best.id}"
    weights = patiently(lambda: store.get(f"{key}.npz"), watch)
    try:
        details = read_object(patiently(lambda: store.get(f"{key}.json"), watch))
    except ValueError as error:
        raise TrainingFailedError(f"the result of the trial {best.id} is damaged: {error}") from None
    details["search"] = {"trials": len(job.request.trials), "trial": best.id, "settings": chosen(job, best)}
    publish = place.registry.publish
    return patiently(lambda: publish(job.request.model, weights, details, job_id=job.id).version, watch)


def _ended_trials(jobs: Jobs, job: Job, watch: Watch) -> list[Job]:
    """Wait until all trials have ended, and tell of each."""
    watch.hear({"event": "start", "epochs": len(job.request.trials)})
    told: set[str] = set()
    while True:
        trials = patiently(lambda: jobs.trials(job), watch)
        for trial in trials:
            if trial.is_final and trial.id not in told:
                told.add(trial.id)
                watch.hear({"event": "log", "line": f"{trial.id} {trial.state}: {_result(trial)} {chosen(job, trial)}"})
                watch.hear({"event": "trial", "ended": len(told)})
        if len(told) == len(job.request.trials):
            return trials
        time.sleep(_ASK_SECONDS)


def _best(trials: Sequence[Job]) -> Job:
    ranked = sorted(trials, key=rank)
    if not ranked or ranked[0].state != "succeeded":
        reasons = ", ".join(sorted({trial.detail or trial.state for trial in trials}))
        raise TrainingFailedError(f"none of {len(trials)} trials came to a result: {reasons}")
    return ranked[0]


def _result(trial: Job) -> str:
    accuracy = trial.figures.get("accuracy")
    return trial.detail or (f"{accuracy:.4f}" if accuracy is not None else "")
