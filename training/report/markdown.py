"""Measurements of a model as Markdown, for `evaluate` and for its card."""

from collections.abc import Iterable, Sequence
from typing import Any


def format_measurements(figures: dict[str, Any]) -> str:
    """Format everything that `measure` returns."""
    test = figures["test"]
    times = figures["microseconds"]
    parts = [
        f"**{_percent(1 - test['accuracy'])} error**: {test['wrong']} of {test['examples']:,} test images are misread; "
        f"{_percent(test['top_3_accuracy'])} have the right class among the first three. "
        f"Expected calibration error {test['calibration_error']:.4f}, "
        f"mean −log probability {test['surprise']:.4f}.",
        f"{figures['network']}, {figures['parameters']:,} parameters, {figures['bytes']:,} bytes. "
        f"The network alone, one thread: {times['1']:,.0f} µs for one picture, {times['64']:,.0f} µs for 64.",
        "### By class",
        _table(
            ("class", "examples", "precision", "recall", "F1"),
            (
                (row["class"], row["examples"], *(f"{row[kind]:.4f}" for kind in ("precision", "recall", "f1")))
                for row in test["classes"]
            ),
        ),
        "### When unsure answers are refused",
        _abstaining(figures["abstaining"]),
        _table(
            ("refused below", "still answered", "wrong of these", "share"),
            (
                (f"{row['threshold']:.4f}", _percent(row["coverage"]), row["wrong"], f"{row['risk']:.3%}")
                for row in figures["refusals"]
            ),
        ),
        "### Pictures that are not MNIST's",
        "Each goes through the preprocessing as in service; none was learned from.",
        _table(
            ("set", "pictures", "read right"),
            ((row["set"], row["examples"], _percent(row["accuracy"])) for row in figures["foreign"]),
        ),
        "### Damaged test images",
        "Read right by the network alone, and (the first 1,000) with the preprocessing before it, as in service.",
        *(_damage(row) for row in figures["damages"]),
    ]
    return "\n\n".join(part for part in parts if part)


def render_card(
    name: str, version: str, manifest: dict[str, Any], figures: dict[str, Any], pictures: Sequence[str]
) -> str:
    """Return the model card."""
    parts = [
        f"# {name}, version {version}",
        "Reads one handwritten digit, 0 to 9, from a 28×28 picture in MNIST's form.",
        format_measurements(figures),
        "## How it was made",
        _making(manifest),
        _choosing(manifest),
        *_seeds(manifest),
        "## Limits",
        _LIMITS,
        "## Pictures",
        *(f"![{picture.partition('.')[0]}]({picture})" for picture in pictures),
    ]
    return "\n\n".join(parts) + "\n"


_LIMITS = """It knows ten digits and nothing else: a letter, two digits or a scribble are answered with some digit, if
often an unsure one. MNIST's writers were US census workers and high-school students of about 1990; what other hands
write, a 1 with a long flag or a 7 with a bar, is rarer in it. What the preprocessing cannot do is told in
docs/explanation/images.md."""


def _making(manifest: dict[str, Any]) -> str:
    settings, data, metrics = manifest["settings"], manifest["data"], manifest["metrics"]
    options = ", ".join(f"{option} {value:g}" for option, value in settings["augment_options"].items())
    learned = f"deformed anew each time by `{settings['augment']}` ({options or 'as it is by default'})"
    minutes = metrics.get("training_seconds", metrics["seconds"]) / 60
    return (
        f"`python -m training fit --recipe {manifest['recipe']} --seed {manifest['seed']}` and "
        f"`python -m training release`. {settings['epochs']} epochs over {data['train_examples']:,} of MNIST's "
        f"training images, each {learned}; batches of {settings['batch_size']}, {settings['optimizer']}, rate "
        f"{settings['learning_rate']:g} ({settings['schedule']}), weight decay {settings['weight_decay']:g}, dropout "
        f"{settings['dropout']:g}, label smoothing {settings['label_smoothing']:g}."
        f"{_teaching(manifest)} It took {minutes:.0f} minutes on less than one core of a busy virtual machine."
    )


def _teaching(manifest: dict[str, Any]) -> str:
    names = " and ".join(teacher["name"] for teacher in manifest["data"].get("teachers", ()))
    if not names:
        return ""
    settings = manifest["settings"]
    return (
        f" It was taught by {names}, whose answers to the same deformed images, at the temperature "
        f"{settings['teacher_temperature']:g}, had a share of {settings['teacher_share']:g} in the loss (distillation)."
    )


def _choosing(manifest: dict[str, Any]) -> str:
    calibration = manifest.get("calibration")
    held = (
        f"{manifest['data']['validation_examples']:,} training images were held out, and settings were chosen on them"
    )
    if calibration is None:
        return f"{held}."
    return (
        f"{held}; the test images served for figures only. The temperature {calibration['temperature']:.3f} was found "
        f"on them, too, and is folded into the last layer. The weights are stored as {calibration['stored_as']}, and "
        "every figure is that of the stored file."
    )


def _seeds(manifest: dict[str, Any]) -> list[str]:
    rows = manifest.get("seeds")
    if not rows:
        return [f"Seed {manifest['seed']} alone was trained."]
    table = _table(
        ("seed", "held-out images read right", "mean loss there", "test images read right"),
        (
            (
                f"**{row['seed']}**" if row["seed"] == manifest["seed"] else row["seed"],
                _percent(row["validation_accuracy"]),
                f"{row['validation_loss']:.4f}",
                "–" if row["test_accuracy"] is None else _percent(row["test_accuracy"]),
            )
            for row in rows
        ),
    )
    told = (
        f"{len(rows)} seeds were trained, and the one with the most held-out images right (then the least loss) was "
        "taken. Of each run the test images were read when it had ended; nothing was chosen by them. The table is that "
        "of the runs, before calibration and storage."
    )
    return [told, table]


def _abstaining(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return (
        f"The manifest names {row['threshold']:.4f} (`abstain.below`, chosen on the held-out training images): "
        f"{_percent(row['coverage'])} are answered then, {row['wrong']} of them wrong, {row['risk']:.3%}."
    )


def _damage(row: dict[str, Any]) -> str:
    header = (f"{row['damage']}, {row['unit']}", *(f"{level['level']:g}" for level in row["levels"]))
    kinds = (("network alone", "alone"), ("as in service", "preprocessed"))
    return _table(header, ((told, *(_percent(level[kind]) for level in row["levels"])) for told, kind in kinds))


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _percent(share: float) -> str:
    return f"{share:.2%}"
