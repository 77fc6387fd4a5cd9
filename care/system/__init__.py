"""The machine: files, claims, control groups, devices, precision and random numbers."""
