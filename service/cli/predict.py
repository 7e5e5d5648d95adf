"""`glyphserve predict`: read images without a server."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: glyphserve predict three.png seven.jpg --top-k 3")(predict)


def predict(
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG, BMP, GIF or WEBP files.")],
    model: Annotated[str | None, typer.Option(help="Another model than the default.")] = None,
    version: Annotated[int | None, typer.Option(help="A version of it.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many labels to show.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    home: Annotated[Path | None, typer.Option(help="Folder of models and jobs.")] = None,
) -> None:
    """Read the digit on each image. Exit code 1 when any of them could not be read."""
    import numpy as np

    from service.cli.context import load_settings, open_registry
    from service.errors import ServiceError
    from service.images import ImageLimits, read_glyph
    from service.serving.predictor import Predictor

    settings = load_settings(home)
    predictor = Predictor(open_registry(settings), settings.model, settings.alias, on_reload=lambda _: None)
    predictor.refresh()
    snapshot = predictor.get(model, version)
    limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels, settings.max_image_side)
    failed = False
    for path in images:
        try:
            probabilities = snapshot.predict(read_glyph(path.read_bytes(), limits)[np.newaxis])[0]
        except (ServiceError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            sys.stderr.write(f"{path}: {reason}\n")
            failed = True
            continue
        order = np.argsort(-probabilities)[:top_k].tolist()
        best = {snapshot.labels[place]: round(float(probabilities[place]), 6) for place in order}
        if as_json:
            answer = {"file": str(path), "label": next(iter(best)), "probabilities": best}
            typer.echo(json.dumps(answer | {"model": snapshot.model, "version": snapshot.version}))
        else:
            others = ", ".join(f"{label} {share:.2%}" for label, share in list(best.items())[1:])
            label, share = next(iter(best.items()))
            typer.echo(f"{path}: {label}  {share:.2%}" + (f"  (then {others})" if others else ""))
    if failed:
        raise typer.Exit(1)
