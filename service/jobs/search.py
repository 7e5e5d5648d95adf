"""Hyperparameter search: each trial is a job that any worker may run, and the best one becomes the version.

jobs/<search id>/<trial id>.npz, .json    the weights and the manifest of each trial, until the search has ended
"""

import json
import time
from collections.abc import Sequence
from typing import Any

from service.jobs.job import Job, trial_settings, trial_sort_key
from service.jobs.queue import JobQueue
from service.jobs.runner import TrainingContext, retry_until_available, train_with_restarts
from service.jobs.trainer_process import TrainingCancelledError, TrainingFailedError, TrainingHooks
from service.json_objects import read_object

_POLL_SECONDS = 0.5


def run_trial(context: TrainingContext, jobs: JobQueue, job: Job, hooks: TrainingHooks) -> dict[str, Any]:
    """Train, store the result for the search, and return its validation metrics. Raises TrainingFailedError."""
    search = str(job.request.trial_of)
    if retry_until_available(lambda: jobs.has_ended(search)):
        raise TrainingCancelledError("its search has ended")
    details, weights = train_with_restarts(context, job.request, job.id, hooks, crashes=job.crashes)
    store, key = context.registry.store, f"jobs/{search}/{job.id}"
    retry_until_available(lambda: store.put(f"{key}.npz", weights), hooks)
    retry_until_available(lambda: store.put(f"{key}.json", json.dumps(details).encode()), hooks)
    metrics = details["metrics"]
    result = {"accuracy": metrics.get("validation_accuracy"), "loss": metrics.get("validation_loss")}
    return result | {"epochs": metrics["epochs"], "seconds": metrics["seconds"]}


def search_and_publish(context: TrainingContext, jobs: JobQueue, job: Job, hooks: TrainingHooks) -> int:
    """Wait for the trials and publish the best one for the search; return the version.

    Raises TrainingCancelledError if it was cancelled, TrainingFailedError if no trial succeeded.
    """
    retry_until_available(lambda: jobs.queue_trials(job.id, job.request), hooks)
    best = _best(_wait_for_trials(jobs, job, hooks))
    store, key = context.registry.store, f"jobs/{job.id}/{best.id}"
    weights = retry_until_available(lambda: store.get(f"{key}.npz"), hooks)
    try:
        details = read_object(retry_until_available(lambda: store.get(f"{key}.json"), hooks))
    except ValueError as error:
        raise TrainingFailedError(f"the result of the trial {best.id} is damaged: {error}") from None
    details["search"] = {"trials": len(job.request.trials), "trial": best.id, "settings": trial_settings(job, best)}
    publish = context.registry.publish
    return retry_until_available(lambda: publish(job.request.model, weights, details, job_id=job.id).version, hooks)


def _wait_for_trials(jobs: JobQueue, job: Job, hooks: TrainingHooks) -> list[Job]:
    """Wait until all trials have ended, and log the result of each."""
    hooks.on_event({"event": "start", "epochs": len(job.request.trials)})
    ended: set[str] = set()
    while True:
        trials = retry_until_available(lambda: jobs.trials(job), hooks)
        for trial in trials:
            if trial.is_final and trial.id not in ended:
                ended.add(trial.id)
                line = f"{trial.id} {trial.state}: {_result(trial)} {trial_settings(job, trial)}"
                hooks.on_event({"event": "log", "line": line})
                hooks.on_event({"event": "trial", "ended": len(ended)})
        if len(ended) == len(job.request.trials):
            return trials
        time.sleep(_POLL_SECONDS)


def _best(trials: Sequence[Job]) -> Job:
    ranked = sorted(trials, key=trial_sort_key)
    if not ranked or ranked[0].state != "succeeded":
        reasons = ", ".join(sorted({trial.detail or trial.state for trial in trials}))
        raise TrainingFailedError(f"none of {len(trials)} trials succeeded: {reasons}")
    return ranked[0]


def _result(trial: Job) -> str:
    accuracy = trial.metrics.get("accuracy")
    return trial.detail or (f"{accuracy:.4f}" if accuracy is not None else "")
