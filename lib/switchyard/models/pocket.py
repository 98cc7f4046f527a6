"""Pocket models: small mixtures of experts in the real architectures, trained from scratch on the corpus.

The training is plain on purpose: AdamW, a warm-up, a constant rate, a linear decay over the second half,
and a load-balancing loss in every layer. The order of the data follows from seed and step alone, so a
training resumed from its checkpoint sees the batches that an undisturbed one would have seen.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from switchyard.artifacts.digests import check_weights, write_digests
from switchyard.artifacts.files import atomic, read_json, write_json
from switchyard.errors import InputError

log = logging.getLogger(__name__)

ARCHITECTURES = {
    "olmoe": ("transformers.models.olmoe", "OlmoeConfig", "OlmoeForCausalLM"),
    "mixtral": ("transformers.models.mixtral", "MixtralConfig", "MixtralForCausalLM"),
}
"""Architecture -> module, configuration class and model class in transformers."""

KEPT_AT = (0.125, 0.25, 0.5)
"""Shares of the steps after which the weights of the moment are kept, to see when routing settles."""

BALANCE_COEFFICIENT = 0.01
"""Weight of the load-balancing loss, as OLMoE was trained (arXiv:2409.02060, section 3)."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a pocket training, beside the corpus."""

    architecture: str  # a key of ARCHITECTURES
    shape: dict[str, Any] = field(default_factory=dict)  # fields of the transformers configuration
    steps: int
    batch_size: int = 4
    sequence_length: int = 256
    learning_rate: float = 4e-3
    warmup_steps: int = 100
    weight_decay: float = 0.1
    seed: int = 0
    threads: int = 1  # a constant: sums in another order are other numbers
    checkpoint_every: int = 500

    @property
    def tokens(self) -> int:
        """Tokens seen in training, repetitions counted."""
        return self.steps * self.batch_size * self.sequence_length

    @property
    def kept_steps(self) -> list[int]:
        """Steps after which the weights are kept, without the last."""
        steps = {math.ceil(share * self.steps) for share in KEPT_AT}
        return sorted(steps - {self.steps})

    def rate(self, step: int) -> float:
        """Learning rate of a step: warm-up, constant, linear decay to zero over the second half."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        return self.learning_rate * warm * min(1.0, 2 * (self.steps - step) / self.steps)


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A fresh model of the recipe's shape, with the tokenizer's vocabulary; seeded.

    Raises:
        InputError: the architecture is not one of `ARCHITECTURES`, or its configuration has no such field.
    """
    if recipe.architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise InputError(f"models: architecture {recipe.architecture!r} is unknown; choose one of {known}")
    module, config_class, model_class = ARCHITECTURES[recipe.architecture]
    library = importlib.import_module(module)
    config = getattr(library, config_class)(
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
        initializer_range=0.04,
        **recipe.shape,
    )
    known_fields = getattr(library, config_class)().to_dict().keys() | config.attribute_map.keys()
    for field_name in sorted(recipe.shape.keys() - known_fields):
        raise InputError(
            f"models: training.shape: {config_class} has no field {field_name!r}; correct its name"
        )
    torch.manual_seed(recipe.seed)
    return getattr(library, model_class)(config)


def encode(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> np.ndarray:
    """One stream of token ids, int32 [tokens], an end of text after every document."""
    end = tokenizer.eos_token_id
    encoded = tokenizer.backend_tokenizer.encode_batch(list(texts))
    return np.concatenate([np.asarray([*e.ids, end], dtype=np.int32) for e in encoded])


def batch(stream: np.ndarray, step: int, recipe: Recipe) -> torch.Tensor:
    """Token ids int64 [batch_size, sequence_length] of a step: windows of a shuffled pass over the stream.

    Every pass cuts the stream at another offset, so that a window's start is not a fixed place.

    Raises:
        InputError: the stream has too few tokens for a batch.
    """
    length = recipe.sequence_length
    windows_per_pass = len(stream) // length - 1
    if windows_per_pass < recipe.batch_size:
        needed = length * (recipe.batch_size + 1)
        raise InputError(
            f"corpus: {len(stream)} training tokens are fewer than a batch needs ({needed}); add packages"
        )
    batches_per_pass = windows_per_pass // recipe.batch_size
    number, place = divmod(step, batches_per_pass)
    generator = np.random.default_rng([recipe.seed, number])
    offset = int(generator.integers(length))
    chosen = generator.permutation(windows_per_pass)[
        place * recipe.batch_size : (place + 1) * recipe.batch_size
    ]
    rows = [stream[offset + window * length : offset + (window + 1) * length] for window in chosen]
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def balance_loss(router_logits: Iterable[torch.Tensor], top_k: int) -> torch.Tensor:
    """Load-balancing loss (arXiv:2101.03961, eq. 4), per layer and averaged; 1 * top_k when even.

    `router_logits` are [tokens, experts] of each layer. transformers pools the layers before comparing, which lets one
    layer's collapse hide behind another.
    """
    losses = []
    for logits in router_logits:  # [tokens, experts]
        probability = logits.float().softmax(-1)
        chosen = torch.zeros_like(probability).scatter_(1, probability.topk(top_k).indices, 1.0)
        losses.append((chosen.mean(0) * probability.mean(0)).sum() * logits.shape[-1])
    return torch.stack(losses).mean()


def train(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerFast,
    *,
    training: np.ndarray,
    validation: np.ndarray,
    checkpoints: Path,
    device: str = "cpu",
    report: Callable[[int], None] = lambda step: None,
    keep: Callable[[int, PreTrainedModel], None] = lambda step, model: None,
) -> tuple[PreTrainedModel, list[dict[str, float]]]:
    """Train a pocket model, resuming from `checkpoints` where an interrupted training left one.

    Args:
        training, validation: token streams, int32 [tokens], see `encode`.
        report: called with the number of steps done after each step.
        keep: called after each of `recipe.kept_steps` with the model as it is then; again where a training is resumed
            from before.

    Returns:
        The model in float32 and the log: step, tokens, training and validation loss (nats per token).
    """
    torch.set_num_threads(recipe.threads)
    model = build_model(recipe, tokenizer).to(device)
    model.set_experts_implementation("grouped_mm")
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=recipe.learning_rate,
        betas=(0.9, 0.95),
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    made_from = {"recipe": asdict(recipe), "tokens": hashlib.sha256(training.tobytes()).hexdigest()}
    start, log = _resume(checkpoints, made_from, model, optimizer)
    running = log[-1]["training_loss"] if log else math.nan
    for step in range(start, recipe.steps):
        loss = _step(model, optimizer, batch(training, step, recipe).to(device), recipe.rate(step))
        running = loss if math.isnan(running) else 0.98 * running + 0.02 * loss
        done = step + 1
        report(done)
        if done in recipe.kept_steps:
            keep(done, model)
        if done % recipe.checkpoint_every == 0 or done == recipe.steps:
            tokens = done * recipe.batch_size * recipe.sequence_length
            held_out = mean_loss(model, validation, recipe.sequence_length)
            log.append(
                {"step": done, "tokens": tokens, "training_loss": running, "validation_loss": held_out}
            )
            _checkpoint(checkpoints, made_from, model, optimizer, done, log)
    return model.eval(), log


def _step(
    model: PreTrainedModel, optimizer: torch.optim.Optimizer, tokens: torch.Tensor, rate: float
) -> float:
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = rate
    output = model(input_ids=tokens, labels=tokens, output_router_logits=True, use_cache=False)
    # transformers has already added its pooled balance loss; take the language-model loss from the logits' own
    loss = output.loss - model.router_aux_loss_coef * output.aux_loss
    balance = balance_loss(output.router_logits, model.config.num_experts_per_tok)
    (loss + BALANCE_COEFFICIENT * balance).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


@torch.no_grad()
def mean_loss(model: PreTrainedModel, stream: np.ndarray, length: int, *, windows: int = 256) -> float:
    """Mean loss in nats per token over the first `windows` windows of `length` tokens of a stream, int32 [tokens]."""
    model.eval()
    count = min(windows, len(stream) // length)
    rows = torch.from_numpy(stream[: count * length].reshape(count, length).astype(np.int64)).to(model.device)
    losses = [model(input_ids=part, labels=part).loss.item() * len(part) for part in rows.split(16)]
    return sum(losses) / count


def _checkpoint(folder: Path, made_from: dict, model, optimizer, step: int, log: list) -> None:
    state = {f"model.{name}": value for name, value in model.state_dict().items() if name != "lm_head.weight"}
    for number, values in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in values.items()}
    with atomic(folder) as partial:
        partial.mkdir()
        save_file({name: value.contiguous() for name, value in state.items()}, partial / "state.safetensors")
        write_digests(partial)
        write_json(partial / "progress.json", {**made_from, "step": step, "log": log})


def _resume(folder: Path, made_from: dict, model, optimizer) -> tuple[int, list]:
    if not (folder / "progress.json").exists():
        return 0, []
    try:
        check_weights(folder)
        progress = read_json(folder / "progress.json")
    except InputError as error:
        log.warning("%s; beginning again", error)
        return 0, []
    if any(progress.get(key) != value for key, value in made_from.items()):
        return 0, []
    state = load_file(folder / "state.safetensors")
    weights = {name[6:]: value for name, value in state.items() if name.startswith("model.")}
    model.load_state_dict(weights, strict=False)
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in state.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".")
            moments.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return progress["step"], progress["log"]


def step_folder(folder: Path, step: int) -> Path:
    """Where the weights after a step are kept."""
    return folder / f"step-{step:06d}"


def save_step(folder: Path, step: int, model: PreTrainedModel) -> None:
    """Write configuration and bfloat16 weights of the moment; the model goes on unchanged."""
    state = {name: value.to(torch.bfloat16) for name, value in model.state_dict().items()}
    with atomic(step_folder(folder, step)) as partial:
        model.save_pretrained(partial, state_dict=state)
        write_digests(partial)


def save_pocket(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, log: list
) -> None:
    """Write a model folder: bfloat16 safetensors, configuration, tokenizer, recipe and training log."""
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_digests(folder)
    write_json(folder / "training.json", {"recipe": asdict(recipe), "log": log})
