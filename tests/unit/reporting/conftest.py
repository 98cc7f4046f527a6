"""Made-up tables for the report's tests."""

import dataclasses

import pandas as pd
import pytest

from reference import made_up_study
from switchyard.reporting.findings import derive
from switchyard.warehouse.study_tables import FILES, Tables

TEXTS = {
    "model",
    "config_name",
    "dataset",
    "against",
    "set_name",
    "routing_type",
    "label",
    "null_name",
    "matched",
}


@pytest.fixture
def made_up():
    """A function: outcome and shape of a study -> its Tables, with numbers that are true of nothing."""
    return lambda outcome="loses", **shape: Tables(**made_up_study.tables(outcome, **shape))


@pytest.fixture
def split_verdicts():
    """A function: Tables -> the same with verdicts of all sorts, in turn over the rows at equal compute."""

    def split(tables):
        words = ["better", "worse", "not distinguishable", "worse", "worse"]
        frame = tables.equal_compute.copy()
        frame["loss_verdict"] = [words[row % 5] for row in range(len(frame))]
        frame["loss_difference"] = [0.001 * (row % 7 - 3) for row in range(len(frame))]
        scored = frame["accuracy_verdict"].notna()
        frame.loc[scored, "accuracy_verdict"] = [words[row % 3] for row in range(scored.sum())]
        return dataclasses.replace(tables, equal_compute=frame)

    return split


@pytest.fixture
def with_random_counts():
    """A function: Tables with mixed static rules -> the same with random counts beside them, their loss 0.01 higher."""

    def copied(frame):
        rows = frame[frame["config_name"].str.startswith("mixed_topk_as_")]
        names = rows["config_name"].str.replace("mixed_topk", "random_count")
        return rows.assign(config_name=names)

    def add(tables):
        changed = {}
        for name in ("results", "overall", "differences", "configurations"):
            frame = getattr(tables, name)
            rows = copied(frame)
            if "routing_type" in rows:
                rows["routing_type"] = "random_count"
            if "avg_loss" in rows:
                rows["avg_loss"] += 0.01
            if "label" in rows:
                rows["label"] = "random count as " + rows["matched"]
                rows["set_name"] = "random"
            changed[name] = pd.concat([frame, rows], ignore_index=True)
        return dataclasses.replace(tables, **changed)

    return add


@pytest.fixture
def derived(tmp_path):
    """A function: Tables, by model or of one model -> a database with the findings on them."""

    def write(folder, name, frames):
        frame = pd.concat(frames, ignore_index=True)
        for column in frame:
            text = column in TEXTS or column.endswith("_verdict")
            if frame[column].dtype == object:
                frame[column] = frame[column].astype("string" if text else float)
        frame.to_parquet(folder / f"{name}.parquet")

    def derive_from(tables):
        models = tables if isinstance(tables, dict) else {"pocket-olmoe": tables}
        for name, file in FILES.items():
            frames = [getattr(one, name) for one in models.values()]
            frames = [frame.assign(model=model) for model, frame in zip(models, frames, strict=True)]
            write(tmp_path, file, frames)
        return derive(tmp_path)

    return derive_from
