"""Every causal language model of transformers that has experts is exact under its trained rule, or refused in one line.

Writes the table in docs/families.md; a change of the table fails once, so that somebody looks at it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from reference.families import DEEPSEEK, LATENT, K, dense, ids, model_of, seen_under
from switchyard.errors import InputError
from switchyard.models.routers import check_family
from switchyard.routing import TopK

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[3] / "docs" / "families.md"
EXPERT_FIELDS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "moe_topk")
OWN: dict[str, Any] = {
    **DEEPSEEK,
    **LATENT,
    "num_experts": 16,
    "num_local_experts": 16,
    "moe_num_experts": 16,
    "moe_k": K,
    "head_dim": 8,
    "layer_types": ["full_attention"] * 3,
    "mlp_layer_types": ["dense", "sparse", "sparse"],
    "num_dense_layers": 1,
    "shared_expert_intermediate_size": 16,
    "attn_layer_period": 1,
    "attn_layer_offset": 0,
    "use_mamba_kernels": False,
}
HEAD = """# Model families

What `attach` does with every causal language model of the installed transformers ({version}) that has experts. Tiny
random models of each class, all biases, correction buffers and scales random and non-zero, more than one group where
there are groups: 64 tokens under the trained top-k as a rule, compared with the untouched model. Written by
`tests/unit/models/test_every_family.py`; exact is equal up to float error, in experts, weights and output.

| model type | result |
|---|---|
"""


def types() -> list[str]:
    """Model types whose own configuration has a field for a number of experts."""
    found = []
    for kind in sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        try:
            config = AutoConfig.for_model(kind).get_text_config()
        except Exception:  # a class that has no defaults, or wants a package
            continue
        if any(getattr(config, name, None) for name in EXPERT_FIELDS):
            found.append(kind)
    return found


def result(kind: str) -> str:
    """`exact`, or why not; `not exact` would be a model silently run as another one."""
    try:
        config = AutoConfig.for_model(kind).get_text_config()
        fields = config.to_dict()
        model = model_of(config.model_type, {name: value for name, value in OWN.items() if name in fields})
        with torch.no_grad():
            plain = model(input_ids=ids()).logits
    except Exception as error:  # whatever a class wants that these sizes do not give
        return f"not tried: {type(error).__name__} when a tiny model is built or run"
    try:
        check_family(model.config)
        own = seen_under(model, None, input_ids=ids())[1]
        routed, seen = seen_under(model, TopK(K), input_ids=ids())
    except InputError as error:
        kind = model.config.model_type
        reason = str(error).split("; ")[0].split(": choose")[0].split(", so that")[0]
        return "refused: " + reason.removeprefix(f"model of type {kind!r}").lstrip(": ")
    is_same = torch.allclose(routed, plain, rtol=1e-4, atol=1e-4) and all(
        torch.allclose(dense(ours[1], 16), dense(theirs[1], 16), rtol=1e-4, atol=1e-6)
        for ours, theirs in zip(seen, own, strict=True)
    )
    return "exact" if is_same else "not exact"


def test_every_family_is_exact_or_refused_as_the_table_in_the_docs_says() -> None:
    found = {kind: result(kind) for kind in types()}
    assert "not exact" not in found.values()
    assert sum(one == "exact" for one in found.values()) >= 25
    rows = "".join(f"| {kind} | {one} |\n" for kind, one in found.items())
    text = HEAD.format(version=transformers.__version__) + rows
    before = PAGE.read_text() if PAGE.is_file() else ""
    PAGE.write_text(text)
    assert text == before, "docs/families.md is written again; look at what changed"
