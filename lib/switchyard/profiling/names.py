"""Names in the tables of a profile: of the untouched model, of parts of a forward, of sets of points."""

from __future__ import annotations

UNTOUCHED = "untouched"
"""The model as it comes, under its own top-k: what the rules are compared with."""

OTHER, ATTACH, MASK = "other", "attach", "mask"
EXPERTS, ROUTER, RULE, LOOK_UP, AFTER = "experts", "router", "rule", "look-up", "after forward"
"""Parts of a forward; `instruments` says what is in each."""

GATHER, PRODUCTS, COMBINE = "gather", "expert products", "combine"
"""Steps of the experts."""

HASH, TABLE, CACHE = "hash", "table look-up", "cache look-up"
LEARNED, WRITE = "learned routing", "cache write"
SORT, P_VALUES = "sort", "p-values"
"""Steps of rules; `splits` measures them."""

FIT, HELD_OUT, VERIFY = "fit", "held out", "verify"
"""Uses of a point: the performance model is fitted to it, judged by it, or predicts it before it is measured."""
