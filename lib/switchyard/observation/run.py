"""Run the untouched model over a shard of the windows and count how it routes, with checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from switchyard.artifacts.files import write_json
from switchyard.artifacts.stamps import sha256_file, sha256_json
from switchyard.errors import InputError
from switchyard.models.blocks import describe
from switchyard.models.routers import routers_of
from switchyard.observation.memory import sample
from switchyard.observation.routed_tokens import RoutedTokens
from switchyard.observation.shards import Checkpoints, MakeCounter, Observation
from switchyard.observation.windows import Batch, Windows, shard_range
from switchyard.routing.attachment import attach

if TYPE_CHECKING:
    from torch import Tensor

    from switchyard.routing.selection import Selection


def observe_shard(
    model: torch.nn.Module,
    windows_path: str | Path,
    shard: int,
    shards: int,
    out: str | Path,
    *,
    model_digest: str,
    layers: Sequence[int] | None = None,
    context_window: int = 3,
    buckets: int = 2**16,
    checkpoint_every: int = 10_000_000,
    counters: Mapping[str, MakeCounter] | None = None,
    stamp: Mapping[str, Any] | None = None,
    memory: str | Path | None = None,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write `out`, the counts of the batches of shard `shard` of `shards`.

    A run that was cut short goes on from its newest checkpoint; what it writes is what an uninterrupted run would have.
    A finished file of the same inputs is left as it is.

    Args:
        model: a Hugging Face MoE model in evaluation mode; its head does not run.
        windows_path: what `write_windows` wrote.
        out: the shard's file; checkpoints lie beside it until it is whole.
        model_digest: names the model's weights: a checkpoint of another model is not resumed.
        layers: MoE blocks to observe, counted from 0; None for all.
        context_window: n-grams of up to this many previous tokens are counted; 0 for none.
        buckets: n-grams that are kept per context at most (`switchyard.observation.ngrams`).
        checkpoint_every: counted tokens after which the next end of a batch makes a checkpoint.
        counters: what else is counted, by name.
        stamp: what the file says about itself; checkpoints of another `code` of it are not resumed.
        memory: a JSON file for samples of the memory (`switchyard.observation.memory`): at the start, at each
            checkpoint and at the end. It says how this process went, so that it differs between runs.
        progress: called with the counted tokens of each batch; of all batches so far when it resumes.

    Raises:
        InputError: the model is no MoE, lacks a layer or a token id of the windows, or answers NaN.
    """
    windows, counters = Windows(windows_path), counters or {}
    sizes = _sizes(model, layers)
    ngrams = {name: sizes[name] for name in ("layers", "num_experts")}
    ngrams |= {"context_window": context_window, "buckets": buckets, "domains": windows.domains}
    empty = Observation.empty({**sizes, "domains": windows.domains}, ngrams, counters)
    inputs = {
        "windows": sha256_file(windows_path),
        "model": model_digest,
        "dtype": str(next(model.parameters()).dtype),
        "code": (stamp or {}).get("code"),
        **empty.settings(),
    }
    head = {"inputs": sha256_json(inputs), "shard": shard, "shards": shards}
    checkpoints = Checkpoints(out, head)
    if checkpoints.is_finished():
        checkpoints.drop()
        _write_samples(memory, shard, [], stamp)
        return
    batches = shard_range(windows.batches, shard, shards)
    seen, start = checkpoints.newest(counters) or (empty, batches.start)
    _report(progress, seen.totals["tokens"])
    recorder, saved = Recorder(model, windows, seen), seen.totals["tokens"]
    samples = [sample(seen, model.device)]
    with attach(model, None, observer=recorder.observe, own_when_full=False):
        for number, batch in zip(
            range(start, batches.stop), windows.read(range(start, batches.stop)), strict=True
        ):
            before = seen.totals["tokens"]
            recorder.run(batch)
            _report(progress, seen.totals["tokens"] - before)
            if seen.totals["tokens"] - saved >= checkpoint_every and number + 1 < batches.stop:
                checkpoints.save(seen, number + 1)
                saved = seen.totals["tokens"]
                samples.append(sample(seen, model.device))
    _write_samples(memory, shard, [*samples, sample(seen, model.device)], stamp)
    seen.save(out, {**head, "stamp": dict(stamp or {})})
    checkpoints.drop()


class Recorder:
    """Feeds batches to a model and counts what the observed layers answer."""

    def __init__(self, model: torch.nn.Module, windows: Windows, seen: Observation) -> None:
        self.model, self.seen, self._routers = model, seen, routers_of(model)
        self._special = windows.special_token_ids
        self._place = {layer: place for place, layer in enumerate(seen.statistics.layers)}
        self._batch: _Fed | None = None

    @torch.inference_mode()
    def run(self, batch: Batch) -> None:
        """Feed a batch and count it.

        Raises:
            InputError: a token id that the model does not have.
        """
        self._batch = fed = _Fed(batch, self._special, self.model.device)
        limit = self.seen.statistics.num_keys
        if batch.token_id.max() >= limit:
            raise InputError(
                f"token id {batch.token_id.max()} is not below the model's {limit}; cut windows with its tokenizer"
            )
        self.model.base_model(input_ids=fed.input_ids, attention_mask=fed.mask, use_cache=False)
        self._count(fed)

    def observe(self, layer: int, logits: Tensor, selection: Selection, context: Any) -> None:
        """Take one layer of the batch (an `attach` observer).

        `logits` [tokens, num_experts] are the scores of the model's family.
        """
        if layer not in self._place:
            return
        fed = self._batch
        experts = selection.experts.index_select(0, fed.real).to(torch.int16).cpu().numpy()
        fed.experts[self._place[layer]] = experts
        router, scores = self._routers[layer], logits.index_select(0, fed.real_and_counted)
        self.seen.statistics.update(
            layer,
            fed.batch.token_id[fed.counted],
            router.log_probabilities(scores),
            fed.batch.domain[fed.counted],
            experts[fed.counted],
            None if router.rules_see_logits else router.probabilities_of(scores),
        )

    def _count(self, fed: _Fed) -> None:
        """What is counted when all layers have answered."""
        batch, counted, seen = fed.batch, fed.counted, self.seen
        experts = np.stack([fed.experts[place] for place in range(len(self._place))])  # [layers, tokens, k]
        if seen.ngrams.context_window:
            seen.ngrams.update(batch.token_id, batch.position, batch.domain, experts, counted)
        if seen.counters:
            routed = RoutedTokens(
                experts[:, counted], fed.stretches(), num_experts=seen.statistics.num_experts
            )
            for counter in seen.counters.values():
                counter.observe(routed)
        number = int(counted.sum())
        seen.totals.update(tokens=number, special=len(counted) - number, padding=batch.padding)


class _Fed:
    """A batch as the model gets it, and which of its rows count; T real tokens."""

    def __init__(self, batch: Batch, special: Sequence[int], device: torch.device) -> None:
        ids, mask = batch.padded()
        real = np.flatnonzero(mask)  # [T] rows of a layer's logits
        self.batch = batch
        self.counted = ~np.isin(batch.token_id, special)  # [T]
        self.input_ids, self.mask, self.real, self.real_and_counted = (
            torch.from_numpy(part).to(device) for part in (ids, mask, real, real[self.counted])
        )
        self.experts: dict[int, np.ndarray] = {}  # place of the layer -> [T, k]

    def stretches(self) -> np.ndarray:
        """Numbers of counted tokens that stand next to each other in a window, in order."""
        breaks = np.cumsum(~self.counted | (self.batch.position == 0))[self.counted]
        return np.unique(breaks, return_counts=True)[1]


def _sizes(model: torch.nn.Module, layers: Sequence[int] | None) -> dict[str, Any]:
    """Arguments of `RoutingStatistics` but for the domains."""
    routers, structure = routers_of(model), describe(model.config)
    observed = list(range(len(routers))) if layers is None else sorted(layers)
    if wrong := sorted(set(observed) - set(range(len(routers)))):
        raise InputError(
            f"observe: layer {wrong[0]} does not exist, the model has {len(routers)}; count from 0"
        )
    if not observed or len(set(observed)) < len(observed):
        raise InputError(f"observe: layers {observed}; name one or more, each once")
    return {
        "num_layers": len(observed),
        "num_keys": structure["vocab_size"],
        "num_experts": structure["num_experts"],
        "top_k": structure["top_k"],
        "layers": observed,
        "normalise": routers[0].normalise,
        "scale": routers[0].scale,
    }


def _write_samples(
    memory: str | Path | None,
    shard: int,
    samples: Sequence[Mapping[str, Any]],
    stamp: Mapping[str, Any] | None,
) -> None:
    if memory is not None:
        write_json(memory, {"shard": shard, "samples": samples, "provenance": dict(stamp or {})})


def _report(progress: Callable[[int], object] | None, tokens: int) -> None:
    if progress is not None:
        progress(tokens)
