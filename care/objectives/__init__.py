"""Losses and their printed parts, one a module; all take embeddings on the unit sphere."""
