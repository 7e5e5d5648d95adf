"""Learning-rate schedules: functions `step → rate`, with steps counted from 0 over the whole run.

The entries of SCHEDULES build one from the peak `rate`, the number of `steps` of the run, and their options.
"""

import math
from bisect import bisect
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant(rate: float, steps: int) -> Schedule:  # noqa: ARG001 -- signature shared by all entries
    """Constant rate."""
    return lambda step: rate  # noqa: ARG005 -- signature shared by all schedules


def step_decay(rate: float, steps: int, *, drops: int = 3, factor: float = 0.1) -> Schedule:
    """Multiply the rate by `factor` at the end of each of `drops` + 1 equal parts of the run."""
    return lambda step: rate * factor ** min(drops, step * (drops + 1) // max(steps, 1))


def exponential(rate: float, steps: int, *, final: float = 0.01) -> Schedule:
    """Multiply by the same factor in each step, down to `final` · rate at the end of the run."""
    return lambda step: rate * final ** min(1.0, step / max(steps, 1))


def cosine(rate: float, steps: int, *, final: float = 0.0, warm_up: float = 0.0) -> Schedule:
    """Warm up linearly over the fraction `warm_up` of the run, then fall along half a cosine to `final` · rate.

    Loshchilov and Hutter 2017 (SGDR), one cycle without restarts; warm-up after Goyal et al. 2017.
    """
    warmup_steps = round(warm_up * steps)

    def at(step: int) -> float:
        if step < warmup_steps:
            return rate * (step + 1) / warmup_steps
        progress = min(1.0, (step - warmup_steps) / max(steps - warmup_steps, 1))
        return rate * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress)))

    return at


def cosine_restarts(
    rate: float,
    steps: int,
    *,
    cycles: int = 2,
    growth: float = 1.0,
    peak: float = 1.0,
    final: float = 0.0,
    warm_up: float = 0.0,
) -> Schedule:
    """Fall along half a cosine `cycles` times (SGDR, Loshchilov and Hutter 2017).

    Each cycle is `growth` times as long as the previous one and starts at `peak` times its rate. See `cosine` for
    `final` and `warm_up`, which is a fraction of the first cycle.
    """
    first = steps / sum(growth**cycle for cycle in range(cycles))
    begins = [round(first * sum(growth**earlier for earlier in range(cycle))) for cycle in range(cycles)]
    lengths = [end - begin for begin, end in zip(begins, [*begins[1:], steps], strict=True)]
    parts = [
        cosine(rate * peak**cycle, length, final=final, warm_up=0.0 if cycle else warm_up)
        for cycle, length in enumerate(lengths)
    ]

    def at(step: int) -> float:
        cycle = bisect(begins, step) - 1
        return parts[cycle](step - begins[cycle])

    return at


def linear_warmup(rate: float, steps: int, *, share: float = 0.1) -> Schedule:
    """Rise linearly over the fraction `share` of the run, then stay constant (Goyal et al. 2017)."""
    warmup_steps = max(round(share * steps), 1)
    return lambda step: rate * min(1.0, (step + 1) / warmup_steps)


def one_cycle(rate: float, steps: int, *, rise: float = 0.3, start: float = 0.04, final: float = 1e-4) -> Schedule:
    """Rise from `start`·rate to the peak over the fraction `rise` of the run, then fall to `final`·rate, along cosines.

    Smith and Topin 2018 (super-convergence), as PyTorch's OneCycleLR.
    """
    peak = max(rise * steps - 1, 1.0)

    def between(low: float, high: float, progress: float) -> float:
        return low + (high - low) * 0.5 * (1 - math.cos(math.pi * progress))

    def at(step: int) -> float:
        if step <= peak:
            return rate * between(start, 1.0, step / peak)
        return rate * between(1.0, final, min(1.0, (step - peak) / max(steps - 1 - peak, 1.0)))

    return at


def triangular(rate: float, steps: int, *, cycles: int = 2, low: float = 0.1) -> Schedule:
    """Rise and fall linearly between `low`·rate and rate, `cycles` times (Smith 2017, cyclical learning rates)."""
    half = max(steps / (2 * cycles), 1.0)

    def at(step: int) -> float:
        position = abs((step / half) % 2 - 1)
        return rate * (1 - (1 - low) * position)

    return at


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "step_decay": step_decay,
    "exponential": exponential,
    "cosine": cosine,
    "cosine_restarts": cosine_restarts,
    "warm_up": linear_warmup,
    "one_cycle": one_cycle,
    "triangular": triangular,
}
