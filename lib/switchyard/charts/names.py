"""The figures' names, for those who need no chart to know them."""

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

STANDALONE = ("nine_panel", "frontier", "verdicts", "paired_differences")
"""Whole figures, in the order of the report; `whole.WHOLE` draws them."""
