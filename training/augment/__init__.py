"""Random deformations of training images."""
