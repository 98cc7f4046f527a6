"""The report's sections: each a list of paragraphs made from the tables."""

from __future__ import annotations

import pandas as pd

from switchyard.charts.tables import Tables
from switchyard.reporting import findings as found
from switchyard.reporting.numbers import counted, listed, number
from switchyard.reporting.paper import main_table, markdown
from switchyard.reporting.tables import cells, markdown_table


def opening(tables: Tables, *, model: str) -> str:
    """What was compared, on what, with what."""
    static = int(tables.configs["static"].sum())
    adaptive = len(tables.configs) - static
    return (
        f"{counted(static, 'static top-k rule')} and {counted(adaptive, 'adaptive rule')} choose the "
        f"experts of {model} on "
        f"{counted(len(tables.datasets), 'dataset')} ({listed(tables.datasets)}): "
        f"{counted(len(tables.results), 'experiment')}. "
        f"The model was trained with top-{tables.trained_top_k}; every comparison is with that, sample by "
        "sample."
    )


def findings(tables: Tables) -> list[str]:
    """The answer in a few sentences, one per question."""
    points = [
        sentence(tables)
        for sentence in (_verdict_point, _same_budget_point, _dominance_point, _bounds_point, _speed_point)
    ]
    best = found.best_at_budget(tables).groupby("dataset", sort=False).tail(1)
    for row in best.itertuples():
        tied = f" (shared by {row.equals} configurations)" if row.equals > 1 else ""
        points.append(
            f"Lowest perplexity on {row.dataset}: {number(row.perplexity, 'perplexity')} with "
            f"{tables.labels[row.config_name]}"
            f" at {number(row.avg_experts, 'experts')} experts per token{tied}."
        )
    return ["\n".join(f"- {point}" for point in points if point)]


def everything(tables: Tables) -> list[str]:
    """The main table."""
    return [
        "Perplexity: lower is better. Accuracy: higher is better. Bold: best of its column.",
        markdown(main_table(tables)),
    ]


def at_each_budget(tables: Tables) -> list[str]:
    """Table of the best configuration under each budget of mean experts."""
    best = found.best_at_budget(tables)
    rows = [
        [
            str(row.budget),
            row.dataset,
            tables.labels[row.config_name],
            number(row.perplexity, "perplexity"),
            number(row.avg_experts, "experts"),
            "" if row.equals == 1 else f"{row.equals} share it",
        ]
        for row in best.itertuples()
    ]
    header = ["at most", "dataset", "lowest perplexity with", "perplexity", "mean experts", "note"]
    words = "A budget is a mean number of experts per token. A budget that no configuration meets has no row."
    return [words, markdown_table(header, rows, text_columns=3)]


def paired(tables: Tables) -> list[str]:
    """Table of paired differences with their verdicts."""
    frame = found.verdicts(tables)
    columns = {
        "label": str,
        "dataset": str,
        "avg_experts": "experts",
        "loss_difference": "nats_change",
        "loss_difference_low": "nats_change",
        "loss_difference_high": "nats_change",
        "verdict": str,
    }
    header = ["configuration", "dataset", "mean experts", "loss difference", "from", "to", "verdict"]
    rows = cells(frame, columns)
    if "accuracy_difference" in frame and frame["accuracy_difference"].notna().any():
        extra = {"accuracy_difference": "share_change", "mcnemar_p": "p"}
        header = [*header, "accuracy difference", "McNemar p"]
        rows = [row + more for row, more in zip(rows, cells(frame, extra), strict=True)]
    words = (
        f"Loss per target token minus that of top-{tables.trained_top_k} in nats, with its 95 % interval; "
        "above 0 is "
        "worse. The verdict is undecided where the interval holds 0. These are "
        f"{counted(len(frame), 'interval')}, not corrected for their number: "
        "one in twenty misses the truth by chance alone."
    )
    return [words, markdown_table(header, rows, text_columns=2)]


def same_budget(tables: Tables) -> list[str]:
    """Where an adaptive rule loses to a static one that has no more experts, and where there is none to ask."""
    beaten, alone = found.beaten_by_static(tables), found.without_static_rival(tables)
    parts = [_same_budget_point(tables) or "The study has no adaptive rule."]
    if len(beaten):
        rows = [
            [
                tables.labels[row.config_name],
                row.dataset,
                number(row.avg_experts, "experts"),
                number(row.perplexity, "perplexity"),
                tables.labels[row.by],
                number(row.by_perplexity, "perplexity"),
            ]
            for row in beaten.itertuples()
        ]
        header = ["loses", "dataset", "mean experts", "perplexity", "to", "perplexity of that"]
        parts.append(markdown_table(header, rows, text_columns=2))
    if len(alone):
        parts.append(
            f"For {counted(len(alone), 'adaptive experiment')} nothing of equal or lower budget was "
            "measured: whether static "
            "routing with as few experts would do better is open. "
            "Static rules with k below "
            f"{int(tables.configs.loc[tables.configs['static'], 'k_or_max_k'].min())} would tell."
        )
    return parts


def dominance(tables: Tables) -> list[str]:
    """Configurations that another one beats everywhere."""
    frame = found.dominated(tables)
    words = (
        "Dominated: another configuration has no more experts, lower perplexity and no lower accuracy on every "
        "dataset."
    )
    if frame.empty:
        return [words, "No configuration is dominated."]
    rows = [[tables.labels[row.config_name], tables.labels[row.by]] for row in frame.itertuples()]
    return [words, markdown_table(["dominated", "by (the best of those)"], rows, text_columns=2)]


def floor_and_ceiling(tables: Tables) -> list[str]:
    """How much of the routing the test decides."""
    frame = found.bounds(tables)
    if frame.empty:
        return ["The study has no adaptive rule."]
    frame["between"] = 1 - frame["floor_hit_rate"] - frame["ceiling_hit_rate"]
    columns = {
        "label": str,
        "avg_experts": "experts",
        "floor_hit_rate": "share",
        "between": "share",
        "ceiling_hit_rate": "share",
    }
    words = (
        "Shares of (layer, token), means over datasets. On the floor the rule was given its least number "
        "of experts, on the "
        "ceiling its largest: neither is a decision of the test. A mean number of experts made of floor "
        "and ceiling says "
        "little about the tokens between."
    )
    header = ["configuration", "mean experts", "floor", "between", "ceiling"]
    return [words, markdown_table(header, cells(frame, columns)), _bounds_point(tables)]


def above_trained(tables: Tables) -> list[str]:
    """Static rules with more experts than trained: no upper anchor."""
    frame = found.verdicts(tables)
    frame = frame[frame["static"] & (frame["avg_experts"] > tables.trained_top_k)]
    if frame.empty:
        return [f"No static rule of this study uses more than the trained {tables.trained_top_k} experts."]
    helped = (frame["verdict"] == found.BETTER).any()
    return [
        f"Of {counted(len(frame), 'comparison')} of static rules with more than the trained "
        f"{tables.trained_top_k} experts, "
        f"{_verdict_counts(frame)}. More experts are no upper anchor of quality: the model never learned "
        "to use them"
        f"{', even where they help as they sometimes do here' if helped else ''}. The anchor is "
        f"top-{tables.trained_top_k}."
    ]


def compute(tables: Tables, *, machine: str | None) -> list[str]:
    """FLOPs by both formulas, and speed where it was measured."""
    frame = tables.overall.assign(label=tables.overall["config_name"].map(tables.labels))
    columns: dict = {"label": str, "avg_experts": "experts"}
    names = {
        "flops_reduction_pct": ("FLOPs saved, 0.6/0.4 formula", "percent"),
        "flops_reduction_exact_pct": ("FLOPs saved, counted", "percent"),
        "tokens_per_second": ("prefill tokens/s", "speed"),
        "latency_ms_per_token": ("decode ms/token", "ms"),
    }
    header = ["configuration", "mean experts"]
    for name, (title, kind) in names.items():
        if name in frame:
            columns[name], header = kind, [*header, title]
    where = machine or "the machine named in the study's speed file"
    words = (
        f"Against top-{tables.trained_top_k}; below 0 is more work. The first column is the literature's "
        "formula, which gives "
        "experts 60 % of a model's work whatever its shape; the second counts the matrix products of this "
        "model "
        "(projections, router, experts, head) and is the one to believe. "
        f"Speed holds for {where}, this implementation and these lengths only; decoding is batch 1. In "
        "larger batches "
        "nearly every expert is wanted by some token, and skipping saves less."
    )
    return [words, markdown_table(header, cells(frame, columns)), *filter(None, [_speed_point(tables)])]


def limits(tables: Tables) -> list[str]:
    """What the numbers cannot carry."""
    samples = tables.differences["samples"] if "samples" in tables.differences else pd.Series(dtype=float)
    ends = sorted({int(samples.min()), int(samples.max())}) if len(samples) else []
    size = f" ({' to '.join(map(str, ends))} samples each)" if ends else ""
    return [
        f"One model, one set of datasets{size}, one calibration text. Intervals cover the choice of "
        "samples and nothing else: "
        "not the choice of calibration text, not the training run. Perplexities of different datasets are "
        "not comparable. "
        "Where an interval holds 0 the study is too small to tell, which is not the same as no difference."
    ]


def _verdict_point(tables: Tables) -> str:
    frame = found.verdicts(tables)
    frame = frame[~frame["static"]]
    if frame.empty:
        return ""
    cheap = int(frame["saves"].sum())
    return (
        f"Adaptive routing against the trained top-{tables.trained_top_k}: of "
        f"{counted(len(frame), 'comparison')}, "
        f"{_verdict_counts(frame)}. In {cheap} of them the adaptive rule used fewer experts; "
        f"{_verdict_counts(frame[frame['saves']]) if cheap else 'so there is nothing saved to weigh'}"
        f"{' among these' if cheap else ''}."
    )


def _verdict_counts(frame: pd.DataFrame) -> str:
    counts = frame["verdict"].value_counts()
    words = ((found.BETTER, "better"), (found.WORSE, "worse"), (found.UNDECIDED, "undecided"))
    return listed([f"{int(counts.get(verdict, 0))} {word}" for verdict, word in words])


def _same_budget_point(tables: Tables) -> str:
    adaptive = int((~tables.configs["static"]).sum())
    if not adaptive:
        return ""
    beaten, alone = found.beaten_by_static(tables), found.without_static_rival(tables)
    total = int(
        tables.results["config_name"].isin(tables.configs.loc[~tables.configs["static"], "config_name"]).sum()
    )
    asked = total - len(alone)
    if not asked:
        return (
            f"At equal or lower budget no static rule was measured: all {total} adaptive experiments are "
            "cheaper than "
            "every static rule here."
        )
    return (
        f"At equal or lower budget: of {asked} adaptive experiments that have a static rule with no more "
        "experts to be "
        f"compared with, {len(beaten)} {'loses' if len(beaten) == 1 else 'lose'} to it in perplexity"
        f"{f'; {len(alone)} have none' if len(alone) else ''}."
    )


def _dominance_point(tables: Tables) -> str:
    frame = found.dominated(tables)
    if frame.empty:
        return "No configuration is dominated by another."
    return (
        f"{len(frame)} of {len(tables.configs)} configurations are dominated by another one on every dataset."
    )


def _bounds_point(tables: Tables) -> str:
    frame = found.bounds(tables)
    if frame.empty:
        return ""
    low, high = frame["floor_hit_rate"].min(), frame["floor_hit_rate"].max()
    top = frame["ceiling_hit_rate"].max()
    floor, ceiling = (
        int((frame[column] > found.MOSTLY).sum()) for column in ("floor_hit_rate", "ceiling_hit_rate")
    )
    return (
        f"Between {number(low, 'share')} and {number(high, 'share')} of the adaptive rules' decisions are "
        "the floor (no "
        f"decision) and at most {number(top, 'share')} the ceiling; of "
        f"{counted(len(frame), 'adaptive configuration')}, "
        f"{floor} {'rests' if floor == 1 else 'rest'} mostly on the floor and {ceiling} mostly on the ceiling."
    )


def _speed_point(tables: Tables) -> str:
    frame = found.speeds(tables)
    if frame.empty:
        return ""
    return (
        f"Of {counted(len(frame), 'adaptive configuration')} with fewer experts than trained, "
        f"{int(frame['slower'].sum())} "
        f"ran slower than top-{tables.trained_top_k} in prefill; the fastest had "
        f"{number(frame['speedup'].max(), 'experts')} "
        f"times its tokens per second, the slowest {number(frame['speedup'].min(), 'experts')}."
    )
