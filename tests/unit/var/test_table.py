"""The routing table: from each kind of file that there is, and as tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from switchyard.artifacts.files import write_table
from switchyard.errors import InputError
from switchyard.var.table import RoutingTable, read_routing_table, routing_table

BASE = {
    "layer": [0, 0, 2],
    "token_id": [4, 7, 4],
    "token_str": ["a", "b", "a"],
    "frequency": [10, 20, 30],
    "mean_entropy": [0.25, 0.5, 1.0],
    "routing_consistency": [0.9, 0.8, 0.7],
}
LISTED = {"experts": [[1, 0], [3, 2], [2, 1]], "weights": [[0.75, 0.25], [0.5, 0.5], [0.625, 0.375]]}
PHASE_1 = {"top_expert": [1, 3, 2], "mean_confidence": [0.5, 0.25, 0.75]}
COLUMNS = ["layer", "token_id", "token_str", "frequency", "mean_entropy", "consistency", "experts", "weights"]
COUNTS = pa.table(
    {
        "layer": [0, 0, 0, 0, 0, 2, 2],
        "domain": ["x", "x", "y", "x", "x", "x", "x"],
        "token_id": [4, 4, 4, 7, 7, 4, 4],
        "expert": [3, 1, 3, 2, 0, 0, 3],
        "count": [2, 3, 2, 5, 5, 1, 9],
    }
)


def made(columns: dict[str, Any], **settings: Any) -> pa.Table:
    return routing_table(pa.table(columns), **{"top_k": 2, "normalise": True, **settings})


def test_from_the_statistics_of_observe() -> None:
    table = made({**BASE, **LISTED})
    assert table.column_names == COLUMNS
    for name in COLUMNS:
        source = {**BASE, **LISTED}["routing_consistency" if name == "consistency" else name]
        assert table[name].to_pylist() == source
    assert routing_table(table, top_k=2, normalise=True).equals(table)


@pytest.mark.parametrize(("normalise", "weights"), [(True, [1.0, 1.0, 1.0]), (False, [0.5, 0.25, 0.75])])
def test_a_phase_1_file_serves_a_top_1_model(normalise: bool, weights: list[float]) -> None:
    table = made({**BASE, **PHASE_1}, top_k=1, normalise=normalise)
    assert table["experts"].to_pylist() == [[1], [3], [2]]
    assert table["weights"].to_pylist() == [[weight] for weight in weights]


def test_a_phase_1_file_asks_for_counts_otherwise() -> None:
    with pytest.raises(
        InputError, match=r"one expert .* the model uses 2; give --counts expert_counts\.parquet"
    ):
        made({**BASE, **PHASE_1})
    with pytest.raises(InputError, match="names no experts for a token"):
        made(BASE)


def test_counts_name_the_most_used_experts_and_no_weights() -> None:
    table = made({**BASE, **PHASE_1}, counts=COUNTS, num_experts=8)
    assert table["experts"].to_pylist() == [[3, 1], [0, 2], [3, 0]]  # ties to the lower index
    assert table["weights"].null_count == 3
    assert not RoutingTable.of(table).has_weights
    single = made({**BASE, **PHASE_1}, counts=COUNTS, top_k=1)
    assert single["experts"].to_pylist() == [[3], [0], [3]]
    assert single["weights"].to_pylist() == [[1.0]] * 3


def test_counts_without_layers_are_summed() -> None:
    rows = {name: values[:2] for name, values in {**BASE, **PHASE_1}.items() if name != "layer"}
    assert made(rows, counts=COUNTS)["experts"].to_pylist() == [[3, 1], [0, 2]]


def test_counts_of_another_run_are_refused() -> None:
    with pytest.raises(InputError, match="the counts lack layer 2, token_id 4; give --counts"):
        made({**BASE, **PHASE_1}, counts=COUNTS.slice(0, 5))
    with pytest.raises(InputError, match="expert 3 is not below 2"):
        made({**BASE, **PHASE_1}, counts=COUNTS, num_experts=2)


def test_as_tensors() -> None:
    table = RoutingTable.of(made({**BASE, **LISTED}))
    rows = table.on(torch.device("cpu"))
    assert (table.layers, table.top_k, table.most_experts, table.token_ids) == ((0, 2), 2, 4, 8)
    assert rows.frequency.shape == (3, 9)
    dense = {(0, 4): 0, (0, 7): 1, (2, 4): 2}
    for layer in range(4):
        for token in range(9):
            place = table.row(layer), token
            if (number := dense.get((layer, token))) is None:
                assert (rows.frequency[place], rows.mean_entropy[place]) == (0, np.inf)
                continue
            assert rows.frequency[place] == BASE["frequency"][number]
            assert rows.mean_entropy[place] == BASE["mean_entropy"][number]
            assert rows.experts[place].tolist() == LISTED["experts"][number]
            assert rows.weights[place].tolist() == LISTED["weights"][number]
    assert table.on(torch.device("cpu")) is rows


def test_rows_without_a_layer_serve_all_layers() -> None:
    table = RoutingTable.of(
        made({name: values[:2] for name, values in {**BASE, **LISTED}.items() if name != "layer"})
    )
    assert table.layers is None
    assert table.row(0) == table.row(17) == 0
    assert table.on(torch.device("cpu")).frequency[0, 7] == 20


def test_files_there_and_back(tmp_path: Path) -> None:
    settings = {"top_k": 2, "normalise": True}
    write_table(tmp_path / "routing_stats.parquet", pa.table({**BASE, **LISTED, **PHASE_1}))
    write_table(tmp_path / "phase_1.parquet", pa.table({**BASE, **PHASE_1}))
    write_table(tmp_path / "expert_counts.parquet", COUNTS)
    write_table(tmp_path / "routing_table.parquet", made({**BASE, **LISTED}))
    first = read_routing_table(tmp_path / "routing_stats.parquet", **settings)
    for same in (
        RoutingTable.read(tmp_path / "routing_table.parquet"),
        read_routing_table(tmp_path / "routing_table.parquet", **settings),
    ):
        for mine, other in zip(first.on(torch.device("cpu")), same.on(torch.device("cpu")), strict=True):
            assert torch.equal(mine, other)
    counted = read_routing_table(
        tmp_path / "phase_1.parquet", counts=tmp_path / "expert_counts.parquet", **settings
    )
    assert counted.on(torch.device("cpu")).experts[0, 4].tolist() == [3, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean_entropy": [0.1, float("nan"), 0.1]}, "column mean_entropy has cells"),
        ({"mean_entropy": [0.1, -0.5, 0.1]}, "column mean_entropy has cells"),
        ({"frequency": [1, -2, 3]}, "column frequency holds -2"),
        ({"token_id": [4, 4, 4]}, "a token id has several rows; give one row"),
        ({"experts": [[0], [1], [2]]}, "lists 1 experts for a token, the model uses 2"),
        ({"experts": [[0, 1], [1], [2, 3]]}, "column experts has lists of different lengths"),
        ({"experts": [[0, 0], [1, 0], [2, 3]]}, "experts of a token repeat"),
        ({"experts": [[0, 9], [1, 0], [2, 3]]}, "expert 9 is not below the model's 8"),
        ({"experts": [1, 2, 3]}, "column experts holds no lists"),
    ],
)
def test_refuses_other_content(change: dict[str, list], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made({**BASE, **LISTED, **change}, num_experts=8)


def test_refuses_other_columns() -> None:
    rows = {name: values for name, values in {**BASE, **LISTED}.items() if name not in ("layer", "frequency")}
    with pytest.raises(InputError, match="column frequency is missing"):
        made(rows)
    with pytest.raises(InputError, match="name the layers in a column `layer`"):
        made({**rows, "frequency": [1, 2, 3]})
    with pytest.raises(InputError, match="has no row"):
        RoutingTable.of(made({**BASE, **LISTED}).slice(0, 0))


def test_a_table_of_another_model_is_refused() -> None:
    table = RoutingTable.of(made({**BASE, **LISTED}))
    table.check_model(layers=3, vocabulary=8)
    with pytest.raises(InputError, match="has layer 2, the model has 2 MoE blocks"):
        table.check_model(layers=2, vocabulary=8)
    with pytest.raises(InputError, match="has token id 7, the model's vocabulary has 7"):
        table.check_model(layers=3, vocabulary=7)


def test_lists_of_a_csv_stand_as_json(tmp_path: Path) -> None:
    rows = {"layer": [0, 0], "token_id": [3, 5], "frequency": [9, 8], "mean_entropy": [0.5, 0.25]}
    lists = {"experts": [[1, 0], [2, 3]], "weights": [[0.75, 0.25], [0.5, 0.5]]}
    pq.write_table(pa.table({**rows, **lists}), tmp_path / "stats.parquet")
    cells = {name: [json.dumps(cell) for cell in column] for name, column in lists.items()}
    pd.DataFrame({**rows, **cells}).to_csv(tmp_path / "stats.csv", index=False)
    read = [
        read_routing_table(tmp_path / f"stats.{ending}", top_k=2, normalise=True).on(torch.device("cpu"))
        for ending in ("parquet", "csv")
    ]
    assert all(torch.equal(*pair) for pair in zip(*read, strict=True))
    pd.DataFrame({**rows, **cells, "experts": ["1 0", "2 3"]}).to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(InputError, match=r"column experts holds no lists; give routing_stats\.parquet"):
        read_routing_table(tmp_path / "bad.csv", top_k=2, normalise=True)
