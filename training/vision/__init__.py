"""Image processing: from a picture of any kind to a 28×28 glyph in MNIST's form."""
