"""``care doctor``: whether a machine, or a cluster, can run sweeps, and how to mend what cannot."""
