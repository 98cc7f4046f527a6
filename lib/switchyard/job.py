"""What every job does around its work: a log file, and one clear line for what a user can mend."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from switchyard.errors import InputError


@contextmanager
def logged(path: str | Path) -> Iterator[logging.Logger]:
    """Run a job with its log at `path`.

    An `InputError` ends the process with its one line, `switchyard: error: ...`, in the log and on stderr; any
    other exception leaves its traceback in both.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=path, filemode="w", level=logging.INFO, format="%(message)s", force=True)
    logger = logging.getLogger("switchyard")
    try:
        yield logger
    except InputError as error:
        _end(logger, f"switchyard: error: {' '.join(str(error).split())}")
    except Exception:
        _end(logger, traceback.format_exc())


def _end(logger: logging.Logger, message: str) -> None:
    logger.error(message)
    print(message, file=sys.stderr)
    raise SystemExit(1)
