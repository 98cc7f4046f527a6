"""Which rows of routing statistics can be counted with; the others are reported, never dropped in silence."""

from __future__ import annotations

import math
import re
from collections.abc import Collection

import numpy as np
import pandas as pd
import pyarrow as pa

from switchyard.errors import InputError
from switchyard.observation.input_tables import check_sum, need

NEEDED = ("token_id", "frequency", "mean_entropy", "routing_consistency")
"""Columns that a verdict needs; `layer` and `token_str` are used where they are there."""

ROUNDING = 1e-4
"""What half of a digit in a table printed to four of them adds; more than that beyond a bound cannot be true."""

REASONS = ("never_seen", "not_a_number", "special")
"""Why a row cannot be used, the first that fits: frequency 0; not finite; a special token."""

SPECIAL = re.compile(
    r"<\|.*\|>|</?s>|<(pad|unk|bos|eos|mask|cls|sep)>|\[(PAD|UNK|BOS|EOS|MASK|CLS|SEP)\]", re.DOTALL
)
"""Texts of special tokens, spaces around them apart."""


def sorted_out(
    stats: pd.DataFrame | pa.Table,
    *,
    special_ids: Collection[int] | None,
    num_experts: int | None,
    place: str,
) -> pd.DataFrame:
    """The columns `layer, token_id, frequency, mean_entropy, routing_consistency`, and `unusable`: why, or None.

    `layer` is None in all rows of a table without it.

    Args:
        stats: routing statistics, one row per token id and layer.
        special_ids: None: what `SPECIAL` finds in `token_str`.
        num_experts: entropies are at most its logarithm; None: not checked.
        place: what messages call the table.

    Raises:
        InputError: no rows, a column missing or of text, a token id twice in a layer, numbers that cannot be true.
    """
    frame = stats.to_pandas() if isinstance(stats, pa.Table) else stats
    if any(frame.index.names):  # pandas keeps an index as a column, or as a range in the file's metadata
        frame = frame.reset_index()
    need(list(frame.columns), NEEDED, place, "routing statistics")
    if frame.empty:
        raise InputError(f"{place}: has no rows; give routing statistics of at least one token")
    found = pd.DataFrame({name: _numbers(frame, name, place) for name in NEEDED})
    found["layer"] = _layers(frame, place)
    _refuse_untrue(found, num_experts, place)
    _refuse_repeated(found, place)
    finite = np.isfinite(found[list(NEEDED)]).all(axis=1)
    conditions = [found["frequency"] == 0, ~finite, _special(frame, found["token_id"], special_ids)]
    found["unusable"] = np.select(conditions, REASONS, default=None)
    return found


def _numbers(frame: pd.DataFrame, column: str, place: str) -> np.ndarray:
    """float64 [rows]; empty cells are NaN."""
    if frame[column].isna().all():
        return np.full(len(frame), np.nan)
    if not pd.api.types.is_numeric_dtype(frame[column]):
        raise InputError(f"{place}: column {column} holds {frame[column].dtype}; give numbers")
    return frame[column].to_numpy(np.float64, na_value=np.nan)


def _layers(frame: pd.DataFrame, place: str) -> np.ndarray | None:
    if "layer" not in frame:
        return None
    layers = _numbers(frame, "layer", place)
    if not (np.isfinite(layers) & (layers == np.floor(layers))).all():
        raise InputError(f"{place}: column layer holds empty cells or fractions; give every row its layer")
    return layers.astype(np.int64)


def _special(frame: pd.DataFrame, token_ids: pd.Series, special_ids: Collection[int] | None) -> np.ndarray:
    if special_ids is not None:
        return token_ids.isin(list(special_ids)).to_numpy()
    if "token_str" not in frame:
        return np.zeros(len(frame), bool)
    texts = frame["token_str"].tolist()
    return np.array([isinstance(one, str) and SPECIAL.fullmatch(one.strip()) is not None for one in texts])


def _refuse_untrue(found: pd.DataFrame, num_experts: int | None, place: str) -> None:
    most = math.inf if num_experts is None else math.log(num_experts)
    bounds = {"frequency": (0, math.inf), "mean_entropy": (0.0, most), "routing_consistency": (0.0, 1.0)}
    for column, (least, largest) in bounds.items():
        values = found[column].to_numpy()
        values = values[np.isfinite(values)]
        wrong = values[(values < least - ROUNDING) | (values > largest + ROUNDING)]
        if len(wrong):
            raise InputError(
                f"{place}: column {column} holds {wrong[0]:g}, which cannot be: it lies in {least:g}..{largest:.4g}; "
                "make the table again"
            )
    counts = found["frequency"].to_numpy()
    check_sum(counts, f"{place}: column frequency")
    broken = counts[np.isfinite(counts) & (counts != np.round(counts))]
    if len(broken):
        raise InputError(f"{place}: column frequency holds {broken[0]:g}; give counts, not shares")


def _refuse_repeated(found: pd.DataFrame, place: str) -> None:
    twice = found[found.duplicated(["layer", "token_id"]) & found["token_id"].notna()]
    if len(twice):
        token, layer = twice.iloc[0][["token_id", "layer"]]
        where = "and no column layer tells them apart" if layer is None else f"in layer {layer}"
        raise InputError(
            f"{place}: token id {token:g} has several rows {where}; give one per token id and layer"
        )
