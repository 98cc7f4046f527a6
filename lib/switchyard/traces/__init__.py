"""Routing traces: every decision, lossless, one row per (sample, sequence, layer, position)."""
