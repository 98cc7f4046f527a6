"""What observing the untouched models found, as pages: the verdict on VAR's hypothesis, routing tables, analyses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from switchyard.reporting.numbers import counted, listed
from switchyard.reporting.tables import write_html_table

DATA_FILES = ("analyses.sql",)
"""Files read from beside this module; the code fingerprint counts them."""

VERDICT_TITLES = {
    "model": "model",
    "layer": "layer",
    "verdict": "hypothesis",
    "spearman_rho": "Spearman's ρ, frequency and entropy",
    "spearman_low": "from",
    "spearman_high": "to",
    "spearman_p": "p",
    "correlation": "grade of ρ",
    "low_entropy_fraction": "types with low entropy",
    "low_entropy": "grade of low entropy",
    "fast_path_coverage": "occurrences on the fast path",
    "coverage": "grade of the fast path",
    "eligible_tokens": "eligible types",
    "token_types": "token types",
    "mean_entropy": "mean entropy over types, nats",
    "mean_consistency": "mean consistency",
    "top_1000_consistency": "consistency of the commonest 1,000",
    "top_1000_coverage": "coverage of the commonest 1,000",
    "zipf_r_squared": "Zipf R²",
    "unusable_rows": "rows left out",
}
_VERDICT_KINDS = {
    **dict.fromkeys(("spearman_rho", "spearman_low", "spearman_high", "zipf_r_squared"), "plain"),
    **dict.fromkeys(("low_entropy_fraction", "fast_path_coverage", "top_1000_coverage"), "share"),
    **dict.fromkeys(("mean_consistency", "top_1000_consistency"), "share"),
    **dict.fromkeys(("eligible_tokens", "token_types", "unusable_rows"), "count"),
    "spearman_p": "p",
    "mean_entropy": "gap",
}

CEILING_TITLES = {
    "model": "model",
    "layer": "layer",
    "key": "keyed by",
    "in_sample": "on its own text",
    "leave_one_domain_out": "on other domains",
    "unseen_share": "uses at unseen keys",
    "chance": "chance",
    "information_gain": "nats gained over the token id, on its own text",
    "information_gain_held_out": "nats gained, on other domains",
}
_CEILING_KINDS = {
    **dict.fromkeys(("in_sample", "leave_one_domain_out", "unseen_share", "chance"), "share"),
    **dict.fromkeys(("information_gain", "information_gain_held_out"), "gap"),
}


def verdict_rows(verdicts: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per model and layer of `verdict.json`, in the columns of VERDICT_TITLES."""
    rows = [
        {
            "model": one["model"],
            **layer,
            **layer["grades"],
            "mean_entropy": layer["entropy"]["mean"],
            "verdict": "supported" if layer["supported"] else "not supported",
        }
        for one in verdicts
        for layer in one["layers"]
    ]
    return pd.DataFrame(rows)[list(VERDICT_TITLES)]


def write_hypothesis(path: str | Path, verdicts: Sequence[Mapping[str, Any]], **options: Any) -> None:
    """The verdict on VAR's hypothesis for every model and layer."""
    thresholds = verdicts[0]["thresholds"]
    caption = (
        f"{_outcome(verdicts)} The hypothesis, that frequent tokens are routed alike and surely enough to look their "
        "experts up, is supported in a layer where all three hold: Spearman's ρ of frequency and mean entropy below "
        f"{thresholds['spearman_rho_below']:g} with p below {thresholds['spearman_p_below']:g}, at least "
        f"{thresholds['low_entropy_fraction_at_least']:.0%} of the token types with a mean entropy below "
        f"{thresholds['entropy_threshold']:g} nats, and more than {thresholds['fast_path_coverage_above']:.0%} of the "
        f"occurrences on the fast path, which takes types seen at least {thresholds['frequency_threshold']:,} times "
        "with a mean entropy below that threshold. On text of the offline side, without special tokens and padding."
    )
    _write(path, verdict_rows(verdicts), VERDICT_TITLES, _VERDICT_KINDS, "VAR's hypothesis", caption, options)


def _outcome(verdicts: Sequence[Mapping[str, Any]]) -> str:
    counts = []
    for one in verdicts:
        holds = [layer["supported"] for layer in one["layers"]]
        counts.append(f"{sum(holds)} of {counted(len(holds), 'layer')} of {one['model']}")
    return f"Supported in {listed(counts)}."


def ceiling_rows(ceilings: Sequence[Mapping[str, Any]], contexts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per model, layer and key of a routing table, in the columns of CEILING_TITLES."""
    rows = []
    for one in ceilings:
        for layer in one["layers"]:
            place = {"model": one["model"], "layer": layer["layer"], "chance": one["chance"]}
            rows.append({**place, "key": "nothing", **layer["global"]})
            rows.append({**place, "key": "token id", **layer["token"]})
            own = contexts[one["model"]]
            for context in own[own["layer"] == layer["layer"]].to_dict("records"):
                before = counted(context["context"], "token")
                rows.append({**place, "key": f"token id and {before} before it", **_of_context(context)})
    return pd.DataFrame(rows, columns=list(CEILING_TITLES))


def _of_context(context: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "in_sample": context["in_sample_context"],
        "leave_one_domain_out": context["leave_one_domain_out_context"],
        "unseen_share": context["unseen_share_context"],
        "information_gain": context["information_gain"],
        "information_gain_held_out": context["information_gain_held_out"],
    }


def write_ceilings(
    path: str | Path,
    ceilings: Sequence[Mapping[str, Any]],
    contexts: Mapping[str, pd.DataFrame],
    **options: Any,
) -> None:
    """What routing tables would hit, and what context tells."""
    caption = (
        "Share of the used experts that a routing table would hit that lists, for each key, as many experts as a "
        "token uses. On its own text: each domain has a table of its own and is scored on itself, which no real table "
        "can reach; the finer the keys, the more of this is memory. On other domains: the table comes from all domains "
        "but the one that is scored, an unseen key falls back to the coarser one. Rows with tokens before are about a "
        "sample of n-grams and about tokens that have so many before them in their window. A gain above 0 on other "
        "domains is what context is known to tell; a gain on its own text is biased upwards."
    )
    _write(
        path,
        ceiling_rows(ceilings, contexts),
        CEILING_TITLES,
        _CEILING_KINDS,
        "Routing tables",
        caption,
        options,
    )


def analysis_rows(analyses: Mapping[str, Mapping[str, pd.DataFrame]]) -> pd.DataFrame:
    """`model, layer, measure, value, chance`, one row per number: what chance gives stands beside it.

    `analyses` holds the tables of each model by name; only `saturation` may be lacking.
    """
    nothing = pd.DataFrame(columns=["layer", "step", "saturation", "chance"]).astype(
        {"layer": int, "step": int}
    )
    with duckdb.connect() as connection:
        for name in {"saturation", *(name for tables in analyses.values() for name in tables)}:
            own = [
                tables.get(name, nothing).assign(model=model, place=place)
                for place, (model, tables) in enumerate(analyses.items())
            ]
            frame = pd.concat(own, ignore_index=True)
            connection.register(name, frame.assign(row=range(len(frame))))
        return connection.execute((files(__package__) / "analyses.sql").read_text(encoding="utf-8")).df()


def write_analyses(
    path: str | Path, analyses: Mapping[str, Mapping[str, pd.DataFrame]], **options: Any
) -> None:
    """Repetition, segments, caches, co-activation, specialisation and saturation, layer by layer."""
    titles = {
        "model": "model",
        "layer": "layer",
        "measure": "measure",
        "value": "measured",
        "chance": "by chance",
    }
    caption = (
        "Analyses of OLMoE (arXiv:2409.02060), Mixtral (arXiv:2401.04088) and local routing consistency "
        "(arXiv:2505.16056), each as a share. By chance: what independent tokens would give that use the layer's "
        "experts as often, or experts drawn evenly; for caches, one of the most used experts that is never reloaded. "
        "Every pair of experts, domain and expert is in the tables beside: observe/<model>/analyses/."
    )
    kinds = dict.fromkeys(("value", "chance"), "share")
    _write(path, analysis_rows(analyses), titles, kinds, "Routing analyses", caption, options)


def _write(
    path: str | Path,
    frame: pd.DataFrame,
    titles: Mapping[str, str],
    kinds: Mapping[str, str],
    title: str,
    caption: str,
    options: Mapping[str, Any],
) -> None:
    own = {titles[name]: kind for name, kind in kinds.items()}
    write_html_table(path, frame.rename(columns=titles), title=title, caption=caption, kinds=own, **options)
