"""Measures of VAR's hypothesis in plain loops over rows (dicts) of one layer."""

from __future__ import annotations

import math
from itertools import permutations
from statistics import NormalDist
from typing import Any

Rows = list[dict[str, Any]]
TEXTS = {"<s>", "</s>", "<pad>", "<unk>", "<bos>", "<eos>", "[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"}


def is_special(text: Any) -> bool:
    if not isinstance(text, str):
        return False
    text = text.strip()
    return text in TEXTS or (len(text) >= 4 and text.startswith("<|") and text.endswith("|>"))


def unusable(row: dict[str, Any]) -> str | None:
    if row["frequency"] == 0:
        return "never_seen"
    numbers = [row[name] for name in ("token_id", "frequency", "mean_entropy", "routing_consistency")]
    if any(one is None or not math.isfinite(one) for one in numbers):
        return "not_a_number"
    return "special" if is_special(row.get("token_str")) else None


def ranks(values: list[float]) -> list[float]:
    """Mean rank, from 1."""
    return [sum(other < one for other in values) + (values.count(one) + 1) / 2 for one in values]


def pearson(x: list[float], y: list[float]) -> float:
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    products = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y))
    squares = sum((a - mean_x) ** 2 for a in x) * sum((b - mean_y) ** 2 for b in y)
    return products / math.sqrt(squares)


def rho(x: list[float], y: list[float]) -> float:
    return pearson(ranks(x), ranks(y))


def exact_p(x: list[float], y: list[float]) -> float:
    """Twice the smaller tail over all orders of y, at most 1."""
    seen = rho(x, y)
    others = [pearson(ranks(x), list(order)) for order in permutations(ranks(y))]
    tails = (sum(one >= seen - 1e-9 for one in others), sum(one <= seen + 1e-9 for one in others))
    return min(1.0, 2 * min(tails) / len(others))


def interval(rho: float, n: int) -> tuple[float, float]:
    reach = NormalDist().inv_cdf(0.975) * math.sqrt((1 + rho * rho / 2) / (n - 3))
    return math.tanh(math.atanh(rho) - reach), math.tanh(math.atanh(rho) + reach)


def measures(rows: Rows, *, frequency_threshold: float, entropy_threshold: float) -> dict[str, Any]:
    """What is defined for any number of rows, None where it is not."""
    use = sorted(
        (row for row in rows if unusable(row) is None), key=lambda row: (-row["frequency"], row["token_id"])
    )
    left_out = [unusable(row) for row in rows if unusable(row) is not None]
    seen = sum(row["frequency"] for row in use)
    low = [row for row in use if row["mean_entropy"] < entropy_threshold]
    eligible = [row for row in low if row["frequency"] >= frequency_threshold]
    top = use[:1000]
    return {
        "token_types": len(use),
        "occurrences": seen,
        "top_types": len(top),
        "eligible_tokens": len(eligible),
        "low_entropy_fraction": len(low) / len(use) if use else None,
        "fast_path_coverage": sum(row["frequency"] for row in eligible) / seen if use else None,
        "top_1000_coverage": sum(row["frequency"] for row in top) / seen if use else None,
        "top_1000_consistency": sum(row["routing_consistency"] for row in top) / len(top) if use else None,
        "mean_consistency": sum(row["routing_consistency"] for row in use) / len(use) if use else None,
        "unusable_rows": len(left_out),
        "unusable": {name: left_out.count(name) for name in ("never_seen", "not_a_number", "special")},
        **dict(zip(("zipf_r_squared", "zipf_exponent"), zipf([row["frequency"] for row in use]))),
    }


def zipf(descending: list[float]) -> tuple[float | None, float | None]:
    if len(descending) < 3 or descending[0] == descending[-1]:
        return None, None
    x = [math.log(rank) for rank in range(1, len(descending) + 1)]
    y = [math.log(one) for one in descending]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y)) / sum((a - mean_x) ** 2 for a in x)
    return pearson(x, y) ** 2, -slope


def entropy(values: list[float]) -> dict[str, Any]:
    mean = sum(values) / len(values)
    ordered = sorted(values)

    def quantile(share: float) -> float:
        place = share * (len(ordered) - 1)
        below = ordered[math.floor(place)]
        return below + (place - math.floor(place)) * (ordered[math.ceil(place)] - below)

    return {
        "mean": mean,
        "std": math.sqrt(sum((one - mean) ** 2 for one in values) / len(values)),
        "min": ordered[0],
        "quartiles": [quantile(share) for share in (0.25, 0.5, 0.75)],
        "max": ordered[-1],
    }
