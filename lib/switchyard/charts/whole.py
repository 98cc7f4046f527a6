"""The whole figures by name: each is one page, made from the aggregate tables."""

from __future__ import annotations

from switchyard.charts.differences import paired_differences
from switchyard.charts.frontier import frontier
from switchyard.charts.panels import Panel, nine_panel
from switchyard.charts.verdicts import verdicts

WHOLE: dict[str, Panel] = {
    "nine_panel": nine_panel,
    "frontier": frontier,
    "verdicts": verdicts,
    "paired_differences": paired_differences,
}
