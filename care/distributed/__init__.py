"""Data-parallel training: one trial in several processes of one machine."""
