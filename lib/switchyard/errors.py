"""The one exception for what a user can correct, and the kind of it that one setting of a search may meet."""

from __future__ import annotations

ERROR_LINE = "switchyard: error: "
"""How the line begins that says what is wrong and what to do, wherever it is printed."""


class InputError(ValueError):
    """Bad input: a single line that names the thing, the place and the remedy."""


class NotANumber(InputError):
    """A model computed something that is no number; a search records such a point as failed and goes on."""
