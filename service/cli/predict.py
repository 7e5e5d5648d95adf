"""`glyphserve predict`: predict image files without a server."""

import json
from pathlib import Path
from typing import Annotated

import typer

from service.cli.context import HomeOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: glyphserve predict three.png seven.jpg --top-k 3")(predict)


def predict(
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG, BMP, GIF or WEBP files.")],
    model: Annotated[str | None, typer.Option(help="The model; by default the one of the settings.")] = None,
    version: Annotated[int | None, typer.Option(help="The version; by default the serving one.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many labels to print.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    home: HomeOption = None,
) -> None:
    """Predict the label of each image. Exits with code 1 if an image is unreadable."""
    import numpy as np

    from service.cli.context import load_settings, open_registry, read_image
    from service.serving.predictor import Predictor

    settings = load_settings(home)
    predictor = Predictor(open_registry(settings), settings.model, settings.alias, on_reload=lambda _: None)
    predictor.refresh()
    serving_model = predictor.get(model, version)
    failed = False
    for path in images:
        if (glyph := read_image(path, settings)) is None:
            failed = True
            continue
        probabilities = serving_model.predict(glyph[np.newaxis])[0]
        order = np.argsort(-probabilities)[:top_k].tolist()
        top = {serving_model.labels[index]: round(float(probabilities[index]), 6) for index in order}
        if as_json:
            result = {"file": str(path), "label": next(iter(top)), "probabilities": top}
            typer.echo(json.dumps(result | {"model": serving_model.model, "version": serving_model.version}))
        else:
            others = ", ".join(f"{label} {share:.2%}" for label, share in list(top.items())[1:])
            label, share = next(iter(top.items()))
            typer.echo(f"{path}: {label}  {share:.2%}" + (f"  (then {others})" if others else ""))
    if failed:
        raise typer.Exit(1)
