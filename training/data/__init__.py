"""Where examples come from: MNIST's IDX files, sets like it, folders of images, `.npz`, the bundled starter set."""

from training.data.dataset import Dataset, Source
from training.data.image_folder import write_images
from training.data.load import open_source
from training.data.split import stratified_split

__all__ = ["Dataset", "Source", "open_source", "stratified_split", "write_images"]
