"""The data sets that jobs may learn from, by name: those of the library, and those in a folder of the operator's.

Callers give names, never paths. What lies in the folder under a name may be a folder of IDX files, a folder of images
by class, or an `.npz`.
"""

import re
from itertools import chain, islice
from pathlib import Path

from service.errors import InvalidInput
from training.recipe import Recipe

BUNDLED = ("starter", "mnist", "fashion")
"""The sets that the library knows by itself."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def dataset_names(folder: Path | None, most: int | None = None, after: str | None = None) -> list[str]:
    """List the data sets: those of the library, then those of a folder by name; at most `most`, behind `after`.

    Raises InvalidInput for a name behind which this list never goes on.
    """
    if after is not None and after not in BUNDLED and not (folder and _NAME.fullmatch(after)):
        raise InvalidInput("after must be the `next` of the page before", field="after")
    if after in (None, *BUNDLED):
        bundled, least = BUNDLED[BUNDLED.index(after) + 1 if after else 0 :], ""
    else:
        bundled, least = (), after
    paths = sorted(folder.iterdir()) if folder and folder.is_dir() else []
    others = (path.name for path in paths if path.name > least and path.name not in BUNDLED and _is_one(path))
    return list(islice(chain(bundled, others), most))


def resolve(name: str, folder: Path | None, field: str = "dataset") -> str:
    """Give the source that a name stands for, as `training` takes it. Raises InvalidInput for an unknown name."""
    if name in BUNDLED:
        return name
    path = folder / name if folder and _NAME.fullmatch(name) else None
    if path is None or not _is_one(path):
        raise InvalidInput("there is no data set of that name; GET /train/datasets lists them", field=field)
    return str(path)


def resolve_recipe(recipe: Recipe, folder: Path | None) -> Recipe:
    """Give a recipe whose data set is named, with the place where it lies here; one that has a path stays as it is.

    Raises InvalidInput for an unknown name.
    """
    name = recipe.data.data
    if folder is None or Path(name).name != name:
        return recipe
    return recipe.replace(data=resolve(name, folder))


def _is_one(path: Path) -> bool:
    return bool(_NAME.fullmatch(path.name)) and (path.is_dir() or (path.suffix == ".npz" and path.is_file()))
