"""A bar where there is no terminal: full lines that carry the job's name."""

from __future__ import annotations

import io

import pytest

from switchyard.runtime import progress


def test_lines_name_the_job_and_end_at_the_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    stream = io.StringIO()
    with progress.bar(4, "evaluate a", unit="samples", stream=stream) as bar:
        bar.update(1)
        bar.update(3)
    first, last = stream.getvalue().splitlines()
    assert first.startswith("evaluate a: 25 % (1 of 4 samples, ")
    assert last.startswith("evaluate a: 100 % (4 of 4 samples, ")


def test_short_job_prints_its_end_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 3600)
    stream = io.StringIO()
    with progress.bar(100, "short", stream=stream) as bar:
        for _ in range(100):
            bar.update(1)
    assert len(stream.getvalue().splitlines()) == 1


def test_an_unknown_total_is_not_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    stream = io.StringIO()
    with progress.bar(None, "read", unit="documents", stream=stream) as bar:
        bar.update(3)
    assert stream.getvalue().startswith("read: 3 documents, ") and "%" not in stream.getvalue()


def test_terminal_gets_a_live_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with progress.bar(2, "live", stream=stream) as bar:
        bar.update(2)
    assert "\r" in stream.getvalue() and "live" in stream.getvalue()
