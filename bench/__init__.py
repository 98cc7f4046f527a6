"""Benchmarks: `make bench` runs them all, `python -m bench selection trace` some; each prints ratios, not times."""
