"""Figures of a model's profile, one module each."""
