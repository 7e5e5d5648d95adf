"""Where examples come from: MNIST's IDX files, sets like it, folders of images, `.npz`, the bundled starter set."""

from training.data.dataset import Dataset, TrainTest
from training.data.image_folder import save_image_folder
from training.data.load import load_dataset
from training.data.split import stratified_split

__all__ = ["Dataset", "TrainTest", "load_dataset", "save_image_folder", "stratified_split"]
