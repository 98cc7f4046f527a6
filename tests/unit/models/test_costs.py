"""The cost of a token agrees with the warehouse's SQL and with the plain formula."""

from __future__ import annotations

import pytest

from reference import metrics as reference
from reference.synthetic_study import SPEED, STRUCTURE, Study
from switchyard.models.costs import FLOPS_PER_PRODUCT, flops_per_token
from switchyard.models.structure import structure

MIXED = {
    "model_type": "qwen2_moe",
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "hidden_size": 12,
    "intermediate_size": 7,
    "moe_intermediate_size": 5,
    "vocab_size": 50,
    "max_position_embeddings": 64,
    "mlp_only_layers": [0],
}


def test_equals_the_warehouse(tmp_path):
    study = Study(tmp_path)
    head = study.add("8experts_bh_a030", "data")
    study.build([{"config": head["config"], **SPEED}])
    (row,) = study.query("FROM products_of_experiments")
    (quality,) = study.query("FROM quality")
    known = {**STRUCTURE, "num_layers": head["num_layers"], "num_experts": head["num_experts"]}
    assert known["num_hidden_layers"] > known["num_layers"]
    own = flops_per_token(known, quality["avg_experts"])
    trained = flops_per_token(known, head["trained_top_k"])
    assert own == pytest.approx(FLOPS_PER_PRODUCT * row["products_per_token"], rel=1e-12)
    assert trained == FLOPS_PER_PRODUCT * row["trained_products_per_token"]
    assert 100 * (1 - own / trained) == pytest.approx(quality["flops_reduction_exact_pct"], rel=1e-12)


@pytest.mark.parametrize("mean", [0, 1.25, 2, 6])
def test_equals_the_plain_formula(mean):
    known = structure(MIXED)
    assert known["num_layers"] == 3 and known["dense_intermediate_size"] == 7
    head = {"num_layers": 3, "num_experts": 6, "trained_top_k": 2}
    own, trained = flops_per_token(known, mean), flops_per_token(known, 2)
    assert 100 * (1 - own / trained) == pytest.approx(reference.flops_reduction_exact(head, known, mean))


def test_a_router_that_does_not_run_costs_nothing():
    known = structure(MIXED)
    saved = flops_per_token(known, 2, 1.0) - flops_per_token(known, 2, 0.25)
    assert saved == pytest.approx(2 * 0.75 * 3 * 12 * 6)
