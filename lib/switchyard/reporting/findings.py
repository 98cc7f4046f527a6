"""Every number that the report derives from the aggregate tables, as a table: the prose reads from it and from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from switchyard.artifacts.files import write_text
from switchyard.reporting import comparisons as made
from switchyard.reporting.numbers import ABSENT, number
from switchyard.warehouse.study_tables import Tables

COLUMNS = ["finding", "set_name", "config_name", "dataset", "value"]

MEASURES = {"loss": "nats_change", "accuracy": "share_change"}
"""What is compared at equal compute, and the format of its differences."""

KINDS = {
    **dict.fromkeys(
        (
            "static_rules",
            "adaptive_rules",
            "controls",
            "datasets",
            "experiments",
            "samples_fewest",
            "samples_most",
            "matched_configurations",
            "unmatched_configurations",
            "configurations_better",
            "configurations_worse",
            "trained_comparisons",
            "trained_saving",
            "trained_datasets",
            "trained_better",
            "trained_worse",
            "trained_undecided",
            "trained_intervals",
            "above_trained_comparisons",
            "above_trained_better",
            "above_trained_worse",
            "above_trained_undecided",
            "random_comparisons",
            "random_lower_loss",
            "speed_configurations",
            "slower_than_trained",
            "partner_configurations",
            "mostly_floor",
            "mostly_ceiling",
        ),
        "count",
    ),
    **{
        f"{measure}_{what}": "count"
        for measure in MEASURES
        for what in ("comparisons", "better", "worse", "not_distinguishable", "family")
    },
    **{
        f"{measure}_{what}": kind
        for measure, kind in MEASURES.items()
        for what in ("difference_lowest", "difference_highest")
    },
    "loss_interval_lowest": "nats_change",
    "loss_interval_highest": "nats_change",
    "experts_lowest": "experts",
    "experts_highest": "experts",
    "budget_gap_largest": "gap",
    "target_mean_experts": "experts",
    "target_gap_largest": "experts",
    "trained_cost": "nats_change",
    "trained_allowed": "nats_change",
    "random_loss_difference": "nats_change",
    "random_difference_lowest": "nats_change",
    "random_difference_highest": "nats_change",
    "speedup": "ratio",
    "speedup_lowest": "ratio",
    "speedup_highest": "ratio",
    "partner_ratio": "ratio",
    "partner_ratio_lowest": "ratio",
    "partner_ratio_highest": "ratio",
    "partner_tokens_per_second": "speed",
    "partner_latency_ms_per_token": "ms",
    "between": "share",
    "floor_lowest": "share",
    "floor_highest": "share",
    "ceiling_highest": "share",
    "mostly_floor_lowest": "share",
    "mostly_floor_highest": "share",
    "mostly_ceiling_lowest": "share",
}
"""Names of findings and their number formats."""

Row = tuple[str, str | None, str | None, str | None, float]


def findings_table(tables: Tables) -> pd.DataFrame:
    """One row per derived number: finding, set_name, config_name, dataset, value (float64).

    A finding on the whole study has no set, configuration or dataset. What is not defined has no row.
    """
    parts = (_study, _equal_compute, _against_trained, _above_trained, _random, _speed, _bounds, _budgets)
    rows = [row for part in parts for row in part(tables)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    names = dict.fromkeys(COLUMNS[:-1], object)
    frame = frame.astype({**names, "value": float})
    return frame[frame["value"].notna()].reset_index(drop=True)


def write_findings(path: str | Path, frame: pd.DataFrame) -> None:
    """Write the findings as CSV, every value with the shortest decimal that reads back the same."""
    texts = [str(int(value)) if value.is_integer() else repr(value) for value in frame["value"]]
    write_text(path, frame.assign(value=texts).to_csv(index=False, lineterminator="\n"))


class Findings:
    """The findings of a study by name: `say` gives the printed number, `value` the number itself."""

    def __init__(self, frame: pd.DataFrame) -> None:
        places = zip(*(frame[name].where(frame[name].notna(), None) for name in COLUMNS[:-1]))
        self._values = dict(zip(places, frame["value"], strict=True))

    @classmethod
    def of(cls, tables: Tables) -> Findings:
        """The findings of a study's tables."""
        return cls(findings_table(tables))

    def value(self, finding: str, *, set_name=None, config_name=None, dataset=None) -> float | None:
        """The number, None where it is not defined."""
        return self._values.get((finding, set_name, config_name, dataset))

    def say(self, finding: str, **place: str | None) -> str:
        """The number as it is printed."""
        value = self.value(finding, **place)
        return ABSENT if value is None else number(value, KINDS[finding])

    def count(self, finding: str, **place: str | None) -> int:
        """A count, 0 where there is none."""
        return int(self.value(finding, **place) or 0)

    def counted(self, finding: str, noun: str, plural: str | None = None, **place: str | None) -> str:
        """`1 dataset`, `3 datasets`, `no datasets`."""
        count = self.count(finding, **place)
        text = self.say(finding, **place) if count else "no"
        return f"{text} {noun if count == 1 else plural or noun + 's'}"

    def span(self, lowest: str, highest: str, **place: str | None) -> str:
        """`1.38 to 1.52`, or one number where both print alike."""
        ends = [self.say(lowest, **place), self.say(highest, **place)]
        return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _study(tables: Tables) -> Iterator[Row]:
    frame = made.configurations(tables)
    yield _of("static_rules", frame["static"].sum())
    yield _of("adaptive_rules", frame["adaptive"].sum())
    yield _of("controls", frame["control"].sum())
    yield _of("datasets", len(tables.datasets))
    yield _of("experiments", len(tables.results))
    compared = tables.equal_compute if len(tables.equal_compute) else tables.differences
    if "samples" in compared and len(compared):
        yield _of("samples_fewest", compared["samples"].min())
        yield _of("samples_most", compared["samples"].max())


def _equal_compute(tables: Tables) -> Iterator[Row]:
    every, frame = made.at_equal_compute(tables), made.verdicts(tables)
    yield _of("unmatched_configurations", len(made.unmatched(tables)))
    for measure in MEASURES:
        yield _of(f"{measure}_family", every[f"{measure}_p_holm"].notna().sum())
    if frame.empty:
        return
    yield _of("budget_gap_largest", (frame["avg_experts"] - frame["against_avg_experts"]).abs().max())
    yield from _tallies(frame)
    for set_name, rows in frame.groupby("set_name", sort=False):
        yield from _tallies(rows, set_name=set_name)
    for config_name, rows in frame.groupby("config_name", sort=False):
        yield from _tallies(rows, config_name=config_name)


def _tallies(frame: pd.DataFrame, **place: str) -> Iterator[Row]:
    """Verdicts and ranges of some comparisons at equal compute."""
    yield _of("experts_lowest", frame["avg_experts"].min(), **place)
    yield _of("experts_highest", frame["avg_experts"].max(), **place)
    for measure in MEASURES:
        rows = frame[frame[f"{measure}_verdict"].notna()]
        yield _of(f"{measure}_comparisons", len(rows), **place)
        for verdict in (made.BETTER, made.WORSE, made.ALIKE):
            count = (rows[f"{measure}_verdict"] == verdict).sum()
            yield _of(f"{measure}_{verdict.replace(' ', '_')}", count, **place)
        yield _of(f"{measure}_difference_lowest", rows[f"{measure}_difference"].min(), **place)
        yield _of(f"{measure}_difference_highest", rows[f"{measure}_difference"].max(), **place)
    yield _of("loss_interval_lowest", frame["loss_difference_low"].min(), **place)
    yield _of("loss_interval_highest", frame["loss_difference_high"].max(), **place)
    if "config_name" in place:
        return
    each = frame.groupby("config_name")["loss_verdict"]
    better, worse = (each.agg(lambda rows, one=one: (rows == one).any()) for one in (made.BETTER, made.WORSE))
    yield _of("matched_configurations", len(better), **place)
    yield _of("configurations_better", (better & ~worse).sum(), **place)
    yield _of("configurations_worse", (worse & ~better).sum(), **place)


def _against_trained(tables: Tables) -> Iterator[Row]:
    frame = made.against_trained(tables)
    yield _of("trained_intervals", frame["loss_difference_low"].notna().sum())
    rows = frame[frame["adaptive"]]
    yield _of("trained_comparisons", len(rows))
    yield _of("trained_saving", rows["saves"].sum())
    yield from _counts("trained", rows[rows["saves"]])
    for row in made.against_trained_by_configuration(tables).itertuples():
        place = {"config_name": row.config_name}
        yield _of("trained_datasets", row.datasets, **place)
        yield _of("trained_better", row.better, **place)
        yield _of("trained_worse", row.worse, **place)
        yield _of("trained_cost", row.cost, **place)
        yield _of("trained_allowed", row.allowed, **place)


def _above_trained(tables: Tables) -> Iterator[Row]:
    frame = made.against_trained(tables)
    rows = frame[frame["static"] & (frame["avg_experts"] > tables.trained_top_k)]
    yield _of("above_trained_comparisons", len(rows))
    yield from _counts("above_trained", rows)


def _counts(name: str, frame: pd.DataFrame) -> Iterator[Row]:
    for verdict in (made.BETTER, made.WORSE, made.UNDECIDED):
        yield _of(f"{name}_{verdict}", (frame["verdict"] == verdict).sum())


def _random(tables: Tables) -> Iterator[Row]:
    frame = made.against_random_counts(tables)
    yield _of("random_comparisons", len(frame))
    if frame.empty:
        return
    yield _of("random_lower_loss", (frame["loss_difference"] < 0).sum())
    yield _of("random_difference_lowest", frame["loss_difference"].min())
    yield _of("random_difference_highest", frame["loss_difference"].max())
    for row in frame.itertuples():
        place = {"config_name": row.config_name, "dataset": row.dataset}
        yield _of("random_loss_difference", row.loss_difference, **place)


def _speed(tables: Tables) -> Iterator[Row]:
    frame = made.speeds(tables)
    rows = frame[frame["adaptive"] & frame["saves"] & frame["speedup"].notna()]
    matched = frame[frame["adaptive"] & frame["partner_ratio"].notna()]
    yield _of("speed_configurations", len(rows))
    yield _of("slower_than_trained", (rows["speedup"] < 1).sum())
    yield from _ends("speedup", rows["speedup"])
    yield _of("partner_configurations", len(matched))
    yield from _ends("partner_ratio", matched["partner_ratio"])
    columns = ("speedup", "partner_ratio", "partner_tokens_per_second", "partner_latency_ms_per_token")
    yield from _each(frame, {column: column for column in columns})


def _bounds(tables: Tables) -> Iterator[Row]:
    frame = made.bounds(tables)
    yield from _each(frame, {"between": "between"})
    yield from _ends("floor", frame["floor_hit_rate"])
    yield _of("ceiling_highest", frame["ceiling_hit_rate"].max())
    for bound in ("floor", "ceiling"):
        shares = frame[f"{bound}_hit_rate"]
        shares = shares[shares > made.MOSTLY]
        yield _of(f"mostly_{bound}", len(shares))
        yield _of(f"mostly_{bound}_lowest", shares.min())
        if bound == "floor":
            yield _of("mostly_floor_highest", shares.max())


def _budgets(tables: Tables) -> Iterator[Row]:
    frame = made.budgets(tables)
    yield from _each(frame, {"target_mean_experts": "target"})
    if frame.empty:
        return
    targets = frame.set_index("config_name")["target"]
    executed = tables.results[tables.results["config_name"].isin(targets.index)]
    gaps = executed["avg_experts"] - executed["config_name"].map(targets)
    yield _of("target_gap_largest", gaps.abs().max())


def _each(frame: pd.DataFrame, columns: dict[str, str]) -> Iterator[Row]:
    for finding, column in columns.items():
        for name, value in zip(frame["config_name"], frame[column], strict=True):
            yield _of(finding, value, config_name=name)


def _ends(name: str, values: pd.Series) -> Iterator[Row]:
    ends: dict[str, Callable] = {"lowest": values.min, "highest": values.max}
    for end, of in ends.items():
        yield _of(f"{name}_{end}", of())


def _of(
    finding: str,
    value: float,
    *,
    set_name: str | None = None,
    config_name: str | None = None,
    dataset: str | None = None,
) -> Row:
    return finding, set_name, config_name, dataset, float(value)
