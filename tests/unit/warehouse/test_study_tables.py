import dataclasses

import pandas as pd
import pytest

from reference import made_up_study
from switchyard.errors import InputError
from switchyard.warehouse.study_tables import FILES, Tables


@pytest.fixture
def folder(tmp_path):
    for name, frame in made_up_study.tables().items():
        frame.to_parquet(tmp_path / f"{FILES[name]}.parquet")
    return tmp_path


def test_reads_what_the_warehouse_writes(folder):
    tables = Tables.read(folder)
    assert tables.trained == "8experts_topk_baseline"
    assert tables.trained_top_k == 8
    assert tables.datasets == ["held_out_text", "choice", "cloze"]
    assert tables.accuracy_datasets == ["choice", "cloze"]
    assert len(tables.configs) == 20 and list(tables.configs["static"][:4]) == [True] * 4
    assert tables.labels["16experts_bh_a030"] == "BH α 0.30, max 16"


def test_a_missing_table_is_named(folder):
    (folder / "paired_differences.parquet").unlink()
    with pytest.raises(
        InputError, match=r"paired_differences.parquet: no such table; run the aggregate stage"
    ):
        Tables.read(folder)


def test_a_study_without_its_trained_rule_is_refused(folder):
    tables = Tables.read(folder)
    without = dataclasses.replace(tables, differences=tables.differences.iloc[:0])
    with pytest.raises(InputError, match="include the model's trained top-k"):
        _ = without.trained


def test_the_tables_of_one_model_are_those_of_a_study_with_it_alone(tmp_path):
    first = made_up_study.tables()
    second = made_up_study.tables(controls=True, model="other")
    for name, file in FILES.items():
        pd.concat([first[name], second[name]]).to_parquet(tmp_path / f"{file}.parquet")
    tables = Tables.read(tmp_path)
    assert tables.models == ["pocket-olmoe", "other"]
    for model, frames in (("pocket-olmoe", first), ("other", second)):
        found = tables.of(model)
        assert found.models == [model] and found.trained == "8experts_topk_baseline"
        for name, frame in frames.items():
            pd.testing.assert_frame_equal(
                getattr(found, name).dropna(axis=1, how="all"),
                frame.reset_index(drop=True).dropna(axis=1, how="all"),
                check_dtype=False,
            )
