"""Where a sweep's Ray runs: this machine, or a SLURM cluster."""
