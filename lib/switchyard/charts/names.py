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

ROUTING = (
    "frequency_vs_entropy",
    "entropy_distribution",
    "routing_consistency",
    "fastpath_coverage",
    "token_expert_heatmap",
    "context_gain",
)
"""Figures of each observed model; `observed.OBSERVED` draws them."""

VAR = ("var_comparison", "var_sweep")
"""Figures of each model that VAR is compared on; `switchyard.charts.var` draws them."""

SEARCH = ("search_trajectory", "search_frontier", "search_sensitivity")
"""Figures of each model whose thresholds are searched; `switchyard.charts.search` draws them."""

ABLATION = "ablation"
"""The figure of each model whose rules are ablated; `switchyard.charts.search.ablation` draws it."""

PROFILE = (
    "profile_components",
    "profile_scaling",
    "profile_roofline",
    "profile_latency",
    "profile_break_even",
)
"""Figures of each model that is profiled; `switchyard.charts.profile` draws them."""
