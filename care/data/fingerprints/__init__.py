"""The files of data sets, and fingerprints of their content; loads no torch."""
