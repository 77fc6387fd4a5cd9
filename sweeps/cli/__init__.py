"""The command line, ``care``."""
