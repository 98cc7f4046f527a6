"""Figures of a routing study: Altair charts made from the aggregate tables, one style for all."""
