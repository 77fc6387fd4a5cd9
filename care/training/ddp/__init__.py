"""Data-parallel training: rank 0 and the processes that it leads."""
