"""A trial on disk: its folder, checkpoints, identity and provenance."""
