"""The files that data sets are made of, and fingerprints of what they hold; loads no torch."""
