"""Figures of VAR against the untouched model, one module each."""
