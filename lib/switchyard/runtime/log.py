"""What every job does around its work: a log file, and one clear line for what a user can correct."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from switchyard.artifacts import shortages
from switchyard.errors import ERROR_LINE, InputError


@contextmanager
def logged(path: str | Path) -> Iterator[logging.Logger]:
    """Run a job with its log at `path`.

    An `InputError` and a shortage of disk or memory end the process with one line, `switchyard: error: ...`, in the
    log and on stderr; any other exception leaves its traceback in both.
    """
    logger = logging.getLogger("switchyard")
    logging.raiseExceptions = False  # a log that a full disk does not take is no second error
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        logging.basicConfig(filename=path, filemode="w", level=logging.INFO, format="%(message)s", force=True)
        yield logger
    except Exception as error:
        line = str(error) if isinstance(error, InputError) else shortages.line_about(error)
        _end(logger, f"{ERROR_LINE}{' '.join(line.split())}" if line else traceback.format_exc())


def _end(logger: logging.Logger, message: str) -> None:
    logger.error(message)
    print(message, file=sys.stderr)
    raise SystemExit(1)
