"""Figures of the search for thresholds, one module each."""
