"""Data sets: images and point clouds, downloads, caches and fingerprints; loads no torch itself."""
