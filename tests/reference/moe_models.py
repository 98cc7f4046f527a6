"""Random models of the two real architectures, small enough for a test."""

from __future__ import annotations

import torch
from transformers import (
    MixtralConfig,
    MixtralForCausalLM,
    OlmoeConfig,
    OlmoeForCausalLM,
    PreTrainedModel,
)

ARCHITECTURES = ("olmoe", "mixtral")


def random_model(architecture: str, dtype: torch.dtype = torch.float32, **changes: object) -> PreTrainedModel:
    """Three layers; OLMoE with 16 experts, 4 used, not normalised; Mixtral with 8 experts, 2 used."""
    torch.manual_seed(0)
    size = {
        "vocab_size": 96,
        "hidden_size": 32,
        "intermediate_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.4,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if architecture == "olmoe":
        config = OlmoeConfig(**{**size, "num_experts": 16, "num_experts_per_tok": 4, **changes})
        return OlmoeForCausalLM(config).to(dtype).eval()
    config = MixtralConfig(**{**size, "num_local_experts": 8, "num_experts_per_tok": 2, **changes})
    return MixtralForCausalLM(config).to(dtype).eval()


def padded_batch(side: str) -> dict[str, torch.Tensor]:
    """Three rows of 11, 7 and 1 real tokens, padded to 11 on one side."""
    lengths, width = (11, 7, 1), 11
    ids = torch.zeros(len(lengths), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    generator = torch.Generator().manual_seed(1)
    for row, length in enumerate(lengths):
        place = slice(0, length) if side == "right" else slice(width - length, width)
        ids[row, place] = torch.randint(3, 96, (length,), generator=generator)
        mask[row, place] = 1
    return {"input_ids": ids, "attention_mask": mask}
