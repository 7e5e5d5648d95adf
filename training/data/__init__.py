"""Data sets: MNIST's IDX files and similar sets, folders of images, `.npz`, and the bundled starter set."""

from typing import Any

from training.data.dataset import Dataset, TrainTest
from training.data.image_folder import save_image_folder
from training.data.load import load_dataset
from training.data.split import stratified_split
from training.deprecation import former

__all__ = ["Dataset", "TrainTest", "load_dataset", "save_image_folder", "stratified_split"]


def __getattr__(name: str) -> Any:
    """Return what an older release exported under this name."""
    names = {"Source": TrainTest, "open_source": load_dataset, "write_images": save_image_folder}
    return former(__name__, name, names)
