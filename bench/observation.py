"""Streaming routing statistics: updates per second, against a loop over tokens, and memory over many tokens."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from bench.paired import ROUNDS, Line, ratios
from switchyard.observation.ngrams import NGramCounts
from switchyard.observation.statistics import RoutingStatistics

VOCABULARY, EXPERTS, TOP_K = 32_000, 8, 2
BATCHES = (4_096, 32_768)
"""Tokens of a batch, from a short one to a long one."""

LOOP_TOKENS = 1_000
REPEATS = 20
"""Updates that are timed as one: a clock of processor time is too coarse for a single one."""

UPDATES_PER_SECOND = 3e6
CONTEXTS, BUCKETS = 1, 2**12

Routed = tuple[np.ndarray, torch.Tensor, torch.Tensor]


def lines(device: str) -> Iterator[Line]:
    """One thread on a CPU, as an experiment has."""
    torch.set_num_threads(1)
    check()
    for tokens in BATCHES:
        yield from updates(tokens, device)
    if device == "cpu":
        peaks = {tokens: peak_memory(tokens) for tokens in (10**6, 10**8)}
        what = "peak memory of observing 100 million tokens"
        yield Line(what, "of 1 million", [peaks[10**8] / peaks[10**6]], "<= 1.10")


def updates(tokens: int, device: str) -> Iterator[Line]:
    """Batches of one size, one layer."""
    own, loop = RoutingStatistics(1, VOCABULARY, EXPERTS, top_k=TOP_K), TokenLoop()
    keys, logits, experts = made_up(tokens, device)
    few = logits[:LOOP_TOKENS].cpu()
    times = core_seconds(
        {
            "update": (REPEATS, lambda: own.update(0, keys, logits, 0, experts)),
            "logits alone": (REPEATS, lambda: own.update(0, keys, logits)),
            "loop": (1, lambda: loop.update(keys[:LOOP_TOKENS], few)),
        }
    )
    rates = {name: [tokens / took / UPDATES_PER_SECOND for took in times[name]] for name in times}
    size, against = f"{EXPERTS} experts, batches of {tokens:,}", f"{UPDATES_PER_SECOND / 1e6:.0f} million"
    yield Line(f"token-layer updates a second of a core ({size})", against, rates["update"], ">= 1")
    yield Line(f"the same, finding each token's top {TOP_K} too", against, rates["logits alone"], "")
    faster = [ratio * tokens / LOOP_TOKENS for ratio in ratios(times, "loop", "update")]
    yield Line(f"token-layer updates (times faster, {size})", "a loop over tokens", faster, ">= 100")


def core_seconds(calls: Mapping[str, tuple[int, Callable[[], object]]]) -> dict[str, list[float]]:
    """Processor seconds of each call in each round, after a round that is not counted; each is made so many times.

    The target is per second of a core: time in which other processes had the core does not count.
    """
    found: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(ROUNDS + 1):
        for name, (repeats, call) in calls.items():
            start = time.process_time()
            for _ in range(repeats):
                call()
            if number:
                found[name].append((time.process_time() - start) / repeats)
    return found


def made_up(tokens: int, device: str = "cpu", seed: int = 0) -> Routed:
    """Keys that are frequent as words are (Zipf), random logits, and the experts of a model that routes by them."""
    random = np.random.default_rng(seed)
    odds = 1 / np.arange(1, VOCABULARY + 1)
    keys = random.choice(VOCABULARY, tokens, p=odds / odds.sum())
    logits = torch.from_numpy(random.normal(size=(tokens, EXPERTS)).astype(np.float32)).to(device)
    return keys, logits, torch.topk(torch.softmax(logits, dim=-1), TOP_K)[1]


class TokenLoop:
    """The same statistics in the same constant memory, one token after the other, with running means (Welford)."""

    def __init__(self) -> None:
        self.seen: dict[int, Running] = {}

    def update(self, keys: np.ndarray, logits: torch.Tensor) -> None:
        for token, key in enumerate(keys.tolist()):
            probabilities = torch.softmax(logits[token], dim=-1)
            entropy = -(probabilities * torch.log(probabilities)).sum().item()
            values, experts = torch.topk(probabilities, TOP_K)
            self.seen.setdefault(key, Running()).add(entropy, values[0].item(), experts.tolist())


class Running:
    """What a loop over tokens keeps of a key."""

    def __init__(self) -> None:
        self.frequency, self.low, self.high = 0, float("inf"), float("-inf")
        self.means, self.squares = [0.0, 0.0], [0.0, 0.0]
        self.tops, self.uses = [0] * EXPERTS, [0] * EXPERTS

    def add(self, entropy: float, confidence: float, experts: list[int]) -> None:
        self.frequency += 1
        for number, value in enumerate((entropy, confidence)):
            delta = value - self.means[number]
            self.means[number] += delta / self.frequency
            self.squares[number] += delta * (value - self.means[number])
        self.low, self.high = min(self.low, entropy), max(self.high, entropy)
        self.tops[experts[0]] += 1
        for expert in experts:
            self.uses[expert] += 1


def check() -> None:
    """What is timed answers alike."""
    keys, logits, experts = made_up(2_000)
    own, loop = RoutingStatistics(1, VOCABULARY, EXPERTS, top_k=TOP_K), TokenLoop()
    own.update(0, keys, logits, 0, experts)
    loop.update(keys, logits)
    for key, one in loop.seen.items():
        exact = (own.frequency[0, key], *own.tops[0, 0, key], *own.uses[0, 0, key])
        close = (*own.mean[:, 0, key], *own.squares[:, 0, key], own.low[0, key], own.high[0, key])
        if exact != (one.frequency, *one.tops, *one.uses) or not np.allclose(
            close, (*one.means, *one.squares, one.low, one.high), atol=1e-5
        ):
            raise SystemExit("bench observation: the statistics and the loop over tokens disagree")


def peak_memory(tokens: int) -> int:
    """Peak memory in bytes of a process of its own that observes as many tokens."""
    root = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", "bench.observation", str(tokens)]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return int(answer.stdout)


def simulate(tokens: int) -> int:
    """Observe so many made-up tokens, n-grams too, in a run's batches; peak memory of this process in bytes."""
    torch.set_num_threads(1)
    statistics = RoutingStatistics(1, VOCABULARY, EXPERTS, top_k=TOP_K)
    ngrams = NGramCounts([0], EXPERTS, context_window=CONTEXTS, buckets=BUCKETS)
    batch = BATCHES[-1]
    pool, random = [made_up(batch, seed=seed) for seed in range(4)], np.random.default_rng(0)
    position, domain = np.arange(batch), np.zeros(batch, int)
    for number in range(-(-tokens // batch)):
        _, logits, experts = pool[number % len(pool)]
        keys = random.permutation(pool[number % len(pool)][0])
        statistics.update(0, keys, logits, 0, experts)
        ngrams.update(keys, position, domain, experts.numpy()[None])
    told = (
        Path("/proc/self/status").read_text(encoding="ascii").split("VmHWM:")[1]
    )  # getrusage's is inherited
    return int(told.split()[0]) * 1024


if __name__ == "__main__":
    print(simulate(int(sys.argv[1])))
