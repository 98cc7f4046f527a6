"""Property tests draw the same examples every time."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("deterministic", derandomize=True, deadline=None, max_examples=100, database=None)
settings.load_profile("deterministic")
