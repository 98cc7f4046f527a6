"""The counts, ranges and verdicts of the report's findings by plain loops over pandas frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pandas as pd

CONTROLS = ("mixed_topk", "random_count")


def role(routing_type: str) -> str:
    if routing_type == "topk":
        return "static"
    return "control" if routing_type in CONTROLS else "adaptive"


def experiments(tables: Any) -> list[dict[str, Any]]:
    """One dict per experiment, with what it is compared with."""
    configs = {row["config_name"]: row for row in tables.configurations.to_dict("records")}
    whole = {row["config_name"]: row for row in tables.overall.to_dict("records")}
    losses = {
        (row["config_name"], row["dataset"]): row["avg_loss"] for row in tables.results.to_dict("records")
    }
    against = tables.differences["against"].iloc[0]
    equal, trained = _by_place(tables.equal_compute), _by_place(tables.differences)
    found = []
    for row in tables.results.to_dict("records"):
        place = (row["config_name"], row["dataset"])
        config, own = configs[place[0]], whole[place[0]]
        matched = isinstance(config["matched"], str)
        one = {
            "role": role(config["routing_type"]),
            "set_name": config["set_name"],
            "config_name": place[0],
            "dataset": place[1],
            "avg_experts": row["avg_experts"],
            "saves": row["avg_experts"] < configs[against]["k_or_max_k"],
            "equal": equal.get(place),
            "trained": None if matched else trained.get(place),
            "random": None,
            "floor": own["floor_hit_rate"],
            "ceiling": own["ceiling_hit_rate"],
            "speedup": own["tokens_per_second"] / whole[against]["tokens_per_second"],
            "cheap": own["avg_experts"] < configs[against]["k_or_max_k"] and not matched,
            "mixed_ratio": None,
        }
        for other in configs.values():
            if other["matched"] == place[0] and other["routing_type"] == "random_count":
                one["random"] = row["avg_loss"] - losses[other["config_name"], place[1]]
            if other["matched"] == place[0] and other["routing_type"] == "mixed_topk":
                one["mixed_ratio"] = (
                    own["tokens_per_second"] / whole[other["config_name"]]["tokens_per_second"]
                )
        found.append(one)
    return found


def groups(rows: list[dict[str, Any]]) -> Iterator[tuple[tuple[str | None, ...], list[dict[str, Any]]]]:
    """(role, set, configuration), None where all are meant, and its experiments."""
    keys = {(None, None, None)}
    for row in rows:
        keys |= {(row["role"], None, None), (row["role"], row["set_name"], None)}
        keys.add((row["role"], row["set_name"], row["config_name"]))
    for key in keys:
        names = zip(("role", "set_name", "config_name"), key)
        wanted = {name: value for name, value in names if value is not None}
        yield key, [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def counts(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The findings on some experiments by name."""
    found: dict[str, Any] = {"experiments": len(rows), "datasets": len({row["dataset"] for row in rows})}
    for name in ("static", "adaptive"):
        found[f"{name}_rules"] = _configs(rows, lambda row, name=name: row["role"] == name)
    found["controls"] = _configs(rows, lambda row: row["role"] == "control")
    found |= _ends("experts", [row["avg_experts"] for row in rows])
    equal = [row["equal"] for row in rows if row["equal"]]
    for measure in ("loss", "accuracy"):
        verdicts = [one[f"{measure}_verdict"] for one in equal if isinstance(one[f"{measure}_verdict"], str)]
        better, worse = verdicts.count("better"), verdicts.count("worse")
        found |= {
            f"{measure}_comparisons": len(verdicts),
            f"{measure}_better": better,
            f"{measure}_worse": worse,
        }
        found[f"{measure}_undecided"] = verdicts.count("not distinguishable")
        found[f"{measure}_answer"] = answer(len(verdicts), better, worse)
        found |= _ends(f"{measure}_difference", [one[f"{measure}_difference"] for one in equal])
    found["loss_interval_lowest"] = _ends("x", [one["loss_difference_low"] for one in equal])["x_lowest"]
    found["loss_interval_highest"] = _ends("x", [one["loss_difference_high"] for one in equal])["x_highest"]
    trained = [row for row in rows if row["trained"]]
    for name, chosen in {"trained": trained, "saving": [row for row in trained if row["saves"]]}.items():
        words = [verdict(row["trained"]) for row in chosen]
        found |= {f"{name}_{word}": words.count(word) for word in ("better", "worse")}
    found["saving_undecided"] = [verdict(row["trained"]) for row in trained if row["saves"]].count(
        "undecided"
    )
    found["saves_everywhere"] = bool(trained) and all(row["saves"] for row in trained)
    found["trained_cost"] = _ends("x", [row["trained"]["loss_difference"] for row in trained])["x_highest"]
    found["trained_allowed"] = _ends("x", [row["trained"]["loss_difference_high"] for row in trained])[
        "x_highest"
    ]
    drawn = [row["random"] for row in rows if row["random"] is not None]
    found |= {"random_comparisons": len(drawn), "random_lower_loss": sum(one < 0 for one in drawn)}
    found |= _ends("random_difference", drawn)
    found["timed"] = _configs(rows, lambda row: row["cheap"])
    found["slower_than_trained"] = _configs(rows, lambda row: row["cheap"] and row["speedup"] < 1)
    found |= _ends("speedup", [row["speedup"] for row in rows if row["cheap"]])
    found["timed_beside_mixed"] = _configs(rows, lambda row: row["mixed_ratio"] is not None)
    found |= _ends("mixed_ratio", [row["mixed_ratio"] for row in rows])
    found["mostly_floor"] = _configs(rows, lambda row: row["floor"] > 0.5)
    found["mostly_ceiling"] = _configs(rows, lambda row: row["ceiling"] > 0.5)
    return found | _ends("floor", [row["floor"] for row in rows])


def answer(comparisons: int, better: int, worse: int) -> str:
    """What verdicts say together."""
    if not comparisons:
        return "not compared"
    if better and worse:
        return "mixed"
    return "worse" if worse else "better" if better else "not distinguishable"


def verdict(paired: dict[str, Any]) -> str:
    """Against the trained top-k."""
    if paired["loss_difference_high"] < 0:
        return "better"
    return "worse" if paired["loss_difference_low"] > 0 else "undecided"


def pick(rows: list[dict[str, Any]], wanted: str) -> str | None:
    """The cheapest rule of a role that is nowhere measurably worse than trained, or the least costly; None without."""
    costs = []
    for (role_of, _, config), own in groups(rows):
        found = counts(own)
        if role_of == wanted and config is not None and found["saves_everywhere"]:
            experts = sum(row["avg_experts"] for row in own) / len(own)
            lost = found["trained_worse"] > 0
            costs.append((lost, found["trained_cost"] if lost else experts, config))
    return min(costs)[2] if costs else None


def _by_place(frame: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["config_name"], row["dataset"]): row for row in frame.to_dict("records")}


def _configs(rows: list[dict[str, Any]], chosen: Callable[[dict[str, Any]], bool]) -> int:
    return len({row["config_name"] for row in rows if chosen(row)})


def _ends(name: str, values: Iterable[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None and value == value]
    return {f"{name}_lowest": min(known, default=None), f"{name}_highest": max(known, default=None)}
