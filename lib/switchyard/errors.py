"""The one exception for what a user can mend."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: a single line that names the thing, the place and the remedy."""
