"""The draws of `switchyard.routing.draws` in Python's own integers, which never wrap."""

from __future__ import annotations

import hashlib

BITS = 2**64


def draw(sample: int, layer: int, position: int, salt: str) -> float:
    """SplitMix64's finaliser over the three numbers in turn, started from the salt's SHA-256."""
    state = int.from_bytes(hashlib.sha256(salt.encode()).digest()[:8], "big")
    for key in (sample, layer, position):
        state = (state + (key + 1) * 0x9E3779B97F4A7C15) % BITS
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % BITS
        state = (state ^ state >> 27) * 0x94D049BB133111EB % BITS
        state ^= state >> 31
    return (state >> 11) / 2**53
