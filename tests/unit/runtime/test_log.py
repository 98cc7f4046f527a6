"""What a job does around its work: its log, and how it ends."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchyard.errors import InputError
from switchyard.runtime.log import logged


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """Give the process its own handlers back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:], root.level = handlers, level


def test_an_input_error_is_one_line_in_the_log_and_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught, logged(tmp_path / "logs" / "job.log"):
        raise InputError("models: m holds nothing;\n  fetch   it")
    line = "switchyard: error: models: m holds nothing; fetch it\n"
    assert caught.value.code == 1
    assert capsys.readouterr().err == line
    assert (tmp_path / "logs" / "job.log").read_text() == line


def test_another_exception_keeps_its_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, logged(tmp_path / "job.log"):
        raise ZeroDivisionError("a mistake of ours")
    assert caught.value.code == 1
    for text in (capsys.readouterr().err, (tmp_path / "job.log").read_text()):
        assert "Traceback" in text and "ZeroDivisionError: a mistake of ours" in text
        assert "switchyard: error:" not in text


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit(3)])
def test_an_interruption_is_passed_on(tmp_path: Path, end: BaseException) -> None:
    with pytest.raises(type(end) if isinstance(end, BaseException) else end), logged(tmp_path / "job.log"):
        raise end
    assert (tmp_path / "job.log").read_text() == ""


def test_what_the_library_logs_goes_to_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logged(tmp_path / "job.log") as logger:
        logger.info("started")
        logging.getLogger("switchyard.text.tasks").warning("3 samples, 5 were asked for")
    assert (tmp_path / "job.log").read_text() == "started\n3 samples, 5 were asked for\n"
    assert capsys.readouterr().err == ""


def test_a_second_run_starts_its_log_anew(tmp_path: Path) -> None:
    for word in ("first", "second"):
        with logged(tmp_path / "job.log") as logger:
            logger.info(word)
    assert (tmp_path / "job.log").read_text() == "second\n"
