"""The verdict on VAR's hypothesis as text: a block per layer, then the summary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from switchyard.observation.criteria import CRITERIA
from switchyard.observation.hypothesis import Verdict

_RULE = "=" * 60
_MARKS = {True: "✓", False: "✗"}
_VARIANTS = {
    "all_rows": "with special tokens",
    "without_special_tokens": "without special tokens",
    "minimum_frequency": "frequency >= {minimum_frequency:,}",
}
_REASONS = {"never_seen": "never seen", "not_a_number": "not a number", "special": "special tokens"}


def report_text(verdict: Verdict) -> str:
    """What `validation_report.txt` holds."""
    lines = [_RULE, "VAR Hypothesis Validation", _RULE]
    for layer in verdict.layers:
        lines += ["", f"--- {_name(layer).capitalize()} ---", *_layer(layer, verdict.thresholds)]
    return "\n".join([*lines, "", _RULE, "Validation Summary", _RULE, *_summary(verdict)]) + "\n"


def _name(layer: dict[str, Any]) -> str:
    return "all rows (no column layer)" if layer["layer"] is None else f"layer {layer['layer']}"


def _layer(layer: dict[str, Any], thresholds: dict[str, Any]) -> Iterator[str]:
    for number, section in enumerate((_frequency, _correlation, _entropy, _consistency, _fast_path), start=1):
        title, *lines = section(layer, thresholds)
        yield from ("", f"{number}. {title}", *(f"   {line}" for line in lines))
    yield from ("", *_decision(layer, _name(layer)))


def _frequency(layer: dict[str, Any], thresholds: dict[str, Any]) -> Iterator[str]:
    yield "Frequency distribution"
    yield f"Token types: {layer['token_types']:,}, seen {layer['occurrences']:,} times"
    counts = [f"{layer['unusable'][key]:,} {words}" for key, words in _REASONS.items()]
    rows, seen = layer["unusable_rows"], layer["unusable_occurrences"]
    yield f"Rows left out: {rows:,} ({', '.join(counts)}), seen {seen:,} times"
    yield f"Zipf R²: {_number(layer, 'zipf_r_squared', '.4f')}"
    yield f"Zipf exponent: {_number(layer, 'zipf_exponent', '.4f')}"
    yield f"{_top(layer, thresholds)} coverage: {_number(layer, 'top_1000_coverage', '.1%')}"


def _correlation(layer: dict[str, Any], thresholds: dict[str, Any]) -> Iterator[str]:
    yield "Frequency-entropy correlation"
    rho, p = layer["spearman_rho"], layer["spearman_p"]
    yield f"Spearman ρ: {_number(layer, 'spearman_rho', '.4f')}"
    yield f"P-value: {_p(layer)}"
    yield f"Significant: {p is not None and p < CRITERIA['spearman_p_below']}"
    yield f"Negative correlation: {rho is not None and rho < 0}"
    for key, words in _VARIANTS.items():
        yield f"ρ {words.format(**thresholds)}: {_variant(layer['variants'][key])}"


def _variant(one: dict[str, Any]) -> str:
    if one["rho"] is None:
        return f"undefined ({one['reason']})"
    interval = one["reason"] if one["low"] is None else f"95 % [{one['low']:.4f}, {one['high']:.4f}]"
    return f"{one['rho']:.4f}, {interval}, p {_p_value(one['p'])}, {one['n']:,} token types"


def _entropy(layer: dict[str, Any], thresholds: dict[str, Any]) -> Iterator[str]:
    yield "Entropy distribution over token types (nats)"
    entropy = layer["entropy"]
    if entropy["mean"] is None:
        yield "undefined (no usable rows)"
        return
    yield f"Mean entropy: {entropy['mean']:.4f}"
    yield f"Std entropy: {entropy['std']:.4f}"
    quartiles = ", ".join(f"{one:.4f}" for one in entropy["quartiles"])
    yield f"Minimum, quartiles, maximum: {entropy['min']:.4f}, {quartiles}, {entropy['max']:.4f}"
    below = f"Tokens with entropy < {thresholds['entropy_threshold']:g}"
    yield f"{below}: {_number(layer, 'low_entropy_fraction', '.1%')}"


def _consistency(layer: dict[str, Any], thresholds: dict[str, Any]) -> Iterator[str]:
    yield "Routing consistency"
    yield f"Mean consistency: {_number(layer, 'mean_consistency', '.4f')}"
    yield f"{_top(layer, thresholds)} consistency: {_number(layer, 'top_1000_consistency', '.4f')}"


def _fast_path(layer: dict[str, Any], thresholds: dict[str, Any]) -> Iterator[str]:
    least, below = thresholds["frequency_threshold"], thresholds["entropy_threshold"]
    yield f"Fast-path eligible tokens (frequency >= {least:,}, entropy < {below:g})"
    types = layer["token_types"]
    share = f" ({layer['eligible_tokens'] / types:.1%})" if types else ""
    yield f"Eligible tokens: {layer['eligible_tokens']:,}{share}"
    yield f"Token occurrence coverage: {_number(layer, 'fast_path_coverage', '.1%')}"


def _decision(layer: dict[str, Any], name: str) -> Iterator[str]:
    verdict = "SUPPORTED" if layer["supported"] else "NOT SUPPORTED"
    yield f"{_MARKS[layer['supported']]} VAR Hypothesis {verdict}: {name}"
    rho, p = _number(layer, "spearman_rho", ".3g"), _p(layer)
    needed = f"needs ρ < {CRITERIA['spearman_rho_below']:g} and p < {CRITERIA['spearman_p_below']:g}"
    low, coverage = (_number(layer, one, ".1%") for one in ("low_entropy_fraction", "fast_path_coverage"))
    sentences = {
        "correlation": f"frequency against entropy: ρ {rho}, p {p} ({needed})",
        "low_entropy": f"tokens with low entropy: {low} "
        f"(needs at least {CRITERIA['low_entropy_fraction_at_least']:.0%})",
        "coverage": f"token occurrences on the fast path: {coverage} "
        f"(needs more than {CRITERIA['fast_path_coverage_above']:.0%})",
    }
    for key, sentence in sentences.items():
        yield f"  {_MARKS[layer['criteria'][key]]} {sentence}: {layer['grades'][key]}"


def _summary(verdict: Verdict) -> Iterator[str]:
    layers, good = len(verdict.layers), len(verdict.supported_layers)
    if layers == 1:
        yield from _decision(verdict.layers[0], _name(verdict.layers[0]))
        return
    word = "SUPPORTED" if verdict.supported else "NOT SUPPORTED"
    yield f"{_MARKS[verdict.supported]} VAR Hypothesis {word}: it holds in {good} of {layers} layers"
    for layer in verdict.layers:
        grades = ", ".join(f"{key.replace('_', ' ')} {grade}" for key, grade in layer["grades"].items())
        yield f"  {_MARKS[layer['supported']]} {_name(layer)}: {grades}"


def _p(layer: dict[str, Any]) -> str:
    p = layer["spearman_p"]
    return _number(layer, "spearman_p", "") if p is None else _p_value(p)


def _p_value(p: float) -> str:
    """`1.23e-145`; a value too small for a float is not 0."""
    return f"{p:.3g}" if p > 0 else "below 1e-300"


def _top(layer: dict[str, Any], thresholds: dict[str, Any]) -> str:
    fewer = layer["top_types"] < thresholds["top_types"]
    return f"Top {thresholds['top_types']}" + (f" (all {layer['top_types']:,} there are)" if fewer else "")


def _number(layer: dict[str, Any], name: str, form: str) -> str:
    value = layer[name]
    return f"undefined ({layer['undefined'][name]})" if value is None else format(value, form)
