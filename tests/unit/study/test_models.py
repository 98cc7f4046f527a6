"""What is known of models before a weight is opened."""

from __future__ import annotations

from switchyard.study.models import bases


def test_a_quantised_entry_is_compared_with_the_same_weights_as_they_are() -> None:
    hub = {"source": "hub", "repository": "owner/name", "revision": "0" * 40, "dtype": "bfloat16"}
    packed = {"quantise": {"experts": "nf4", "rest": "none", "experts_on": "card"}}
    pocket = {"source": "pocket", "path": "a", "retrain": False, "dtype": "float32"}
    models = {
        "whole": hub,
        "nf4": hub | packed,
        "elsewhere": hub | packed | {"revision": "1" * 40},
        "other dtype": hub | packed | {"dtype": "float16"},
        "pocket": pocket,
        "of a folder": {**pocket, **packed, "source": "folder"},
    }
    assert bases(models) == {"nf4": "whole", "of a folder": "pocket"}
