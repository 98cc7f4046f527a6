"""Scores and speed of a model under a routing rule."""
