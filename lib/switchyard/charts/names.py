"""The panels' names, for those who need no chart to know them."""

FIGURES = (
    "perplexity",
    "accuracy",
    "experts",
    "heatmap",
    "pareto",
    "floor_ceiling",
    "utilisation",
    "layers",
    "speed",
)
"""Panels of the nine-panel figure, in its order; `panels.BARE` draws them."""
