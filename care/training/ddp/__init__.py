"""Data-parallel training of one trial: rank 0, the leader, and its followers."""
