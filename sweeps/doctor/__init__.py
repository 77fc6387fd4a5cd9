"""``care doctor``: checks that a machine, or a cluster, can run sweeps, and how to fix problems."""
