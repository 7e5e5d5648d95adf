"""The data sets that jobs may train on, by name: those of the library, and those in a folder of the operator.

Clients send names, never paths. An entry of the folder is a folder of IDX files, a folder of images by class, or an
`.npz` file.
"""

import re
from itertools import chain, islice
from pathlib import Path

from service.errors import UnprocessableContent
from training.recipes.config import Recipe

BUNDLED = ("starter", "mnist", "fashion")
"""The data sets of the library."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def dataset_names(folder: Path | None, limit: int | None = None, after: str | None = None) -> list[str]:
    """Return up to `limit` names after the name `after`: those of the library, then those in the folder, sorted.

    Raises UnprocessableContent if `after` is not a possible name.
    """
    if after is not None and after not in BUNDLED and not (folder and _NAME.fullmatch(after)):
        raise UnprocessableContent("after must be the `next` of the page before", field="after")
    if after in (None, *BUNDLED):
        bundled, start = BUNDLED[BUNDLED.index(after) + 1 if after else 0 :], ""
    else:
        bundled, start = (), after
    paths = sorted(folder.iterdir()) if folder and folder.is_dir() else []
    others = (path.name for path in paths if path.name > start and path.name not in BUNDLED and _is_dataset(path))
    return list(islice(chain(bundled, others), limit))


def resolve(name: str, folder: Path | None, field: str = "dataset") -> str:
    """Return the source of a data set, as `training` expects it. Raises UnprocessableContent for an unknown name."""
    if name in BUNDLED:
        return name
    path = folder / name if folder and _NAME.fullmatch(name) else None
    if path is None or not _is_dataset(path):
        raise UnprocessableContent("there is no data set of that name; GET /train/datasets lists them", field=field)
    return str(path)


def resolve_recipe(recipe: Recipe, folder: Path | None) -> Recipe:
    """Return a recipe with the source of its data set; a recipe with a path is returned unchanged.

    Raises UnprocessableContent for an unknown name.
    """
    name = recipe.data.data
    if folder is None or Path(name).name != name:
        return recipe
    return recipe.replace(data=resolve(name, folder))


def _is_dataset(path: Path) -> bool:
    return bool(_NAME.fullmatch(path.name)) and (path.is_dir() or (path.suffix == ".npz" and path.is_file()))
