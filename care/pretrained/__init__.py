"""Trained encoders for use: load, export and reproduce them (docs/encoder.md).

Importing this package loads no torch.
"""
