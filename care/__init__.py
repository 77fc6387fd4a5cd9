"""CARE: contrastive learning whose augmentations act as rotations of the embedding sphere."""

__version__ = "0.1.0"
