"""When the hypothesis of VAR holds: its grades and its three criteria, as phase 1 of the study wrote them down.

Grades are strict throughout. Between them and the criteria the text leaves one number open: exactly 30 % of low entropy
meets its criterion ("at least 30 %") and is neither above nor below 30 %; it is graded acceptable.
"""

from __future__ import annotations

INSUFFICIENT = "insufficient"

CORRELATION_GRADES = (("excellent", -0.6, 0.001), ("good", -0.4, 0.01), ("acceptable", -0.3, 0.05))
"""Grade, rho below, p below."""

LOW_ENTROPY_GRADES = (("excellent", 0.5), ("good", 0.4), ("acceptable", 0.3))
COVERAGE_GRADES = (("excellent", 0.6), ("good", 0.5), ("acceptable", 0.4))
"""Grade, share above."""

CRITERIA = {
    "spearman_rho_below": -0.4,
    "spearman_p_below": 0.01,
    "low_entropy_fraction_at_least": 0.3,
    "fast_path_coverage_above": 0.4,
}
"""The hypothesis is supported where all of them are met."""


def grades(
    *, rho: float | None, p: float | None, low_entropy: float | None, coverage: float | None
) -> dict[str, str]:
    """The grade of each criterion; what is not defined is insufficient."""
    return {
        "correlation": _correlation_grade(rho, p),
        "low_entropy": "acceptable" if low_entropy == 0.3 else _share_grade(low_entropy, LOW_ENTROPY_GRADES),
        "coverage": _share_grade(coverage, COVERAGE_GRADES),
    }


def criteria_met(
    *, rho: float | None, p: float | None, low_entropy: float | None, coverage: float | None
) -> dict[str, bool]:
    """Which of the three criteria are met; what is not defined meets none."""
    return {
        "correlation": rho is not None
        and p is not None
        and rho < CRITERIA["spearman_rho_below"]
        and p < CRITERIA["spearman_p_below"],
        "low_entropy": low_entropy is not None and low_entropy >= CRITERIA["low_entropy_fraction_at_least"],
        "coverage": coverage is not None and coverage > CRITERIA["fast_path_coverage_above"],
    }


def _correlation_grade(rho: float | None, p: float | None) -> str:
    if rho is None or p is None:
        return INSUFFICIENT
    return next(
        (name for name, below, level in CORRELATION_GRADES if rho < below and p < level), INSUFFICIENT
    )


def _share_grade(share: float | None, grades: tuple[tuple[str, float], ...]) -> str:
    if share is None:
        return INSUFFICIENT
    return next((name for name, above in grades if share > above), INSUFFICIENT)
