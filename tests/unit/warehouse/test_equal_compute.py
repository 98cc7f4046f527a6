"""The comparison at equal compute, from a small database made by hand."""

from __future__ import annotations

import csv
import json
import math
import shutil

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reference import statistics as reference
from switchyard.artifacts.files import read_stamp
from switchyard.errors import InputError
from switchyard.statistics.paired import ratio_tests
from switchyard.warehouse.equal_compute import SCHEMA, draw_error, equal_compute, write_equal_compute
from switchyard.warehouse.invariants import ImpossibleResult

COLUMNS = """
model config_name dataset against samples avg_experts against_avg_experts loss_difference loss_difference_low
loss_difference_high loss_p loss_p_holm loss_verdict accuracy_difference only_this_correct only_against_correct
mcnemar_p accuracy_p_holm accuracy_verdict
"""
LAYERS = 2
EXPERIMENTS = """
ordinal INTEGER, model VARCHAR, config VARCHAR, dataset VARCHAR, strategy VARCHAR, matched VARCHAR,
num_layers INTEGER
"""
SAMPLES = """
model VARCHAR, config VARCHAR, dataset VARCHAR, sample_id BIGINT, tokens BIGINT, loss DOUBLE, loss_tokens BIGINT,
log_likelihood DOUBLE[], correct BOOLEAN, correct_norm BOOLEAN
"""

NAMES = [column.split()[0] for column in SAMPLES.split(",")]


class Database:
    """A database in the making: `add` evaluates a configuration on a dataset of some kind."""

    def __init__(self, path):
        self.path = path
        self.samples: dict[tuple[str, str], list[tuple]] = {}
        with duckdb.connect(path) as connection:
            connection.execute(f"CREATE TABLE experiments ({EXPERIMENTS})")
            connection.execute(f"CREATE TABLE samples ({SAMPLES})")
            connection.execute(
                "CREATE TABLE quality (model VARCHAR, config VARCHAR, dataset VARCHAR, avg_experts DOUBLE)"
            )

    def add(
        self,
        config,
        dataset="text",
        *,
        strategy="bh",
        matched=None,
        experts=2.5,
        kind="perplexity",
        number=40,
        worse=0.0,
        right=0.5,
        seed=0,
        model="tiny",
    ):
        """`worse`: nats per token above the others; `right`: share of samples answered correctly."""
        of_the_dataset, own = np.random.default_rng(7), np.random.default_rng([seed, len(config)])
        tokens = of_the_dataset.integers(20, 90, number)
        hardness = of_the_dataset.gamma(2.0, size=number)
        losses = (hardness + worse + 0.1 * own.normal(size=number)) * tokens / 4
        answers = own.random(number) < right
        rows = [
            (
                model,
                config,
                dataset,
                place,
                int(tokens[place]),
                float(losses[place]),
                int(tokens[place]) // 4,
                [-1.0] * (4 if kind == "choice" else 1),
                None if kind == "perplexity" else bool(answers[place]) ^ (kind == "choice"),
                bool(answers[place]) if kind == "choice" else None,
            )
            for place in own.permutation(number).tolist()
        ]
        self.samples[config, dataset] = sorted(rows, key=lambda row: row[3])
        with duckdb.connect(self.path) as connection:
            [(ordinal,)] = connection.execute("SELECT count(*) FROM experiments").fetchall()
            head = [ordinal, model, config, dataset, strategy, matched, LAYERS]
            connection.execute("INSERT INTO experiments VALUES (?, ?, ?, ?, ?, ?, ?)", head)
            connection.execute("INSERT INTO quality VALUES (?, ?, ?, ?)", [model, config, dataset, experts])
            given = pa.table([list(column) for column in zip(*rows, strict=True)], names=NAMES)
            connection.register("given", given)
            connection.execute("INSERT INTO samples BY NAME FROM given")
        return self

    def partner(self, matched, dataset="text", **settings):
        settings = {"seed": 1} | settings
        return self.add(
            f"mixed_topk_as_{matched}", dataset, strategy="mixed_topk", matched=matched, **settings
        )

    def run(self, statement):
        with duckdb.connect(self.path) as connection:
            connection.execute(statement)


@pytest.fixture
def database(tmp_path):
    return Database(tmp_path / "study.duckdb")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three configurations on three kinds of datasets; one is worse, one better in accuracy, one neither."""
    database = Database(tmp_path_factory.mktemp("study") / "study.duckdb")
    quality = {"worse": {"worse": 0.5}, "better": {"right": 0.99}, "neither": {}}
    for dataset, kind in (("text", "perplexity"), ("cloze", "cloze"), ("choice", "choice")):
        for config, settings in quality.items():
            database.add(config, dataset, kind=kind, seed=hash_of(config + dataset), **settings)
        database.add("4experts_topk_baseline", dataset, kind=kind, strategy="topk", experts=4.0)
        database.add("mixed_topk_k4.5", dataset, kind=kind, strategy="mixed_topk", experts=4.5)
        database.add("random", dataset, kind=kind, strategy="random_count", matched="worse")
        for config in quality:
            database.partner(config, dataset, kind=kind, experts=2.501)
    return database


def hash_of(text):
    return sum(text.encode())


def rows_of(database):
    return equal_compute(database.path).to_pylist()


def test_columns_rows_and_their_order(study):
    table = equal_compute(study.path)
    assert table.column_names == COLUMNS.split() and table.schema == SCHEMA
    found = [(row["dataset"], row["config_name"], row["against"]) for row in table.to_pylist()]
    assert found == [
        (dataset, config, f"mixed_topk_as_{config}")
        for dataset in ("text", "cloze", "choice")
        for config in ("worse", "better", "neither")
    ]


def test_losses_equal_a_plain_loop(study):
    for row in rows_of(study):
        here, there = (study.samples[row[name], row["dataset"]] for name in ("config_name", "against"))
        d = [one[5] - other[5] for one, other in zip(here, there, strict=True)]
        w = [one[6] for one in here]
        assert row["samples"] == 40
        assert row["loss_difference"] == pytest.approx(reference.ratio_and_error(d, w)[0])
        [test] = ratio_tests([(np.array(d), np.array(w))])
        found = tuple(row[name] for name in ("loss_difference_low", "loss_difference_high", "loss_p"))
        assert found == pytest.approx((test.low, test.high, test.p))


def test_accuracies_equal_a_plain_loop(study):
    for row in rows_of(study):
        names = ("accuracy_difference", "only_this_correct", "only_against_correct", "mcnemar_p")
        column = {"text": None, "cloze": 8, "choice": 9}[row["dataset"]]
        if column is None:
            assert all(row[name] is None for name in (*names, "accuracy_p_holm", "accuracy_verdict"))
            continue
        here, there = (
            [sample[column] for sample in study.samples[row[name], row["dataset"]]]
            for name in ("config_name", "against")
        )
        a = sum(one and not other for one, other in zip(here, there, strict=True))
        b = sum(other and not one for one, other in zip(here, there, strict=True))
        expected = ((a - b) / 40, a, b, reference.mcnemar(a, b))
        assert tuple(row[name] for name in names) == pytest.approx(expected)


def test_each_family_is_adjusted_as_a_whole(study):
    found = rows_of(study)
    assert [row["loss_p_holm"] for row in found] == pytest.approx(
        reference.holm([row["loss_p"] for row in found])
    )
    answered = [row for row in found if row["mcnemar_p"] is not None]
    assert len(answered) == 6
    assert [row["accuracy_p_holm"] for row in answered] == pytest.approx(
        reference.holm([row["mcnemar_p"] for row in answered])
    )


def test_each_model_has_families_of_its_own(study, tmp_path):
    """The same runs under the name of a second model: its rows are those of the first, and change none of them."""
    both = tmp_path / "both.duckdb"
    shutil.copy(study.path, both)
    with duckdb.connect(both) as connection:
        connection.execute("""
            INSERT INTO experiments SELECT * REPLACE ('other' AS model, ordinal + 100 AS ordinal) FROM experiments
        """)
        for table in ("samples", "quality"):
            connection.execute(f"INSERT INTO {table} SELECT * REPLACE ('other' AS model) FROM {table}")
        connection.execute("UPDATE samples SET loss = 2 * loss WHERE model = 'other' AND config = 'better'")
    found = equal_compute(both).to_pylist()
    alone = rows_of(study)
    assert [row for row in found if row["model"] == "tiny"] == alone
    others = [row for row in found if row["model"] == "other"]
    assert [row["loss_p_holm"] for row in others] == pytest.approx(
        reference.holm([row["loss_p"] for row in others])
    )
    for row, own in zip(others, alone, strict=True):
        twice = row["config_name"] == "better"
        assert twice or row["loss_difference"] == own["loss_difference"]
        assert not twice or row["loss_difference"] > own["loss_difference"]


def test_a_configuration_of_another_model_is_no_match(database):
    database.add("a", model="other").partner("a")
    with pytest.raises(
        InputError, match="tiny: a against mixed_topk_as_a on text: a was not evaluated there"
    ):
        equal_compute(database.path)


def test_verdicts(study):
    for row in rows_of(study):
        low, high = row["loss_difference_low"], row["loss_difference_high"]
        assert row["loss_verdict"] == ("worse" if row["config_name"] == "worse" else "not distinguishable")
        assert (low > 0) == (row["config_name"] == "worse") or row["loss_p_holm"] > row["loss_p"]
        if row["dataset"] != "text":
            said = "better" if row["config_name"] == "better" else "not distinguishable"
            assert row["accuracy_verdict"] == said
        assert low < row["loss_difference"] < high


def test_a_lower_loss_is_better(database):
    database.add("a", worse=-0.5).partner("a")
    [row] = rows_of(database)
    assert row["loss_difference_high"] < 0 and row["loss_verdict"] == "better"


def test_without_a_partner_there_are_no_rows(database, tmp_path):
    database.add("a").add("mixed_topk_k4.5", strategy="mixed_topk")
    table = equal_compute(database.path)
    assert table.num_rows == 0 and table.schema == SCHEMA
    write_equal_compute(database.path, tmp_path / "aggregate")
    assert pq.read_table(tmp_path / "aggregate" / "equal_compute.parquet").schema.equals(SCHEMA)
    assert json.loads((tmp_path / "aggregate" / "equal_compute.json").read_text()) == []
    assert (tmp_path / "aggregate" / "equal_compute.csv").read_text() == ",".join(COLUMNS.split()) + "\n"


def test_no_difference_and_one_sample(database):
    database.add("same").partner("same")
    database.run("UPDATE samples SET loss = 3.0")
    [row] = rows_of(database)
    assert (row["loss_difference"], row["loss_difference_low"], row["loss_difference_high"]) == (0, 0, 0)
    assert (row["loss_p"], row["loss_verdict"]) == (1.0, "not distinguishable")
    database.run("DELETE FROM samples WHERE sample_id > 0")
    [row] = rows_of(database)
    assert row["samples"] == 1 and row["loss_verdict"] == "not distinguishable"
    assert row["loss_difference_low"] is row["loss_p"] is row["loss_p_holm"] is None


# --- what is no comparison


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM samples WHERE config = 'a' AND sample_id = 3",
        "DELETE FROM samples WHERE config <> 'a' AND sample_id = 3",
        "UPDATE samples SET sample_id = 99 WHERE config = 'a' AND sample_id = 3",
        "UPDATE samples SET tokens = tokens + 1 WHERE config = 'a' AND sample_id = 3",
        "UPDATE samples SET loss_tokens = 1 WHERE config <> 'a' AND sample_id = 3",
    ],
)
def test_other_samples_are_refused(database, change):
    database.add("a").partner("a").run(change)
    with pytest.raises(
        ImpossibleResult,
        match=r"^tiny: a against mixed_topk_as_a on text: [12] of 4[01] samples are .*evaluate",
    ) as caught:
        equal_compute(database.path)
    assert "\n" not in str(caught.value)


def test_a_partner_of_nothing_is_refused(database):
    database.partner("a")
    with pytest.raises(InputError, match="a was not evaluated there"):
        equal_compute(database.path)


@pytest.mark.parametrize("kind", ["perplexity", "choice"])
@pytest.mark.parametrize("errors, refused", [(5.9, False), (-5.9, False), (6.1, True), (-6.1, True)])
def test_chance_explains_six_standard_errors_and_no_more(database, kind, errors, refused):
    database.add("a", kind=kind)
    tokens = sum(sample[4] for sample in database.samples["a", "text"])
    error = math.sqrt(0.25 * (4 if kind == "choice" else 1) / (tokens * LAYERS))
    database.partner("a", kind=kind, experts=2.5 + errors * error)
    if refused:
        with pytest.raises(ImpossibleResult, match="mean experts are 2.500000 and 2.*chance allows"):
            equal_compute(database.path)
    else:
        assert rows_of(database)[0]["against_avg_experts"] == 2.5 + errors * error


@pytest.mark.parametrize("drawn, refused", [(3.0, False), (3.0 + 1e-10, False), (3.001, True)])
def test_a_whole_mean_leaves_nothing_to_chance(database, drawn, refused):
    database.add("a", experts=3.0).partner("a", experts=drawn)
    if refused:
        with pytest.raises(ImpossibleResult, match="chance allows 1e-09 between them"):
            equal_compute(database.path)
    else:
        assert len(rows_of(database)) == 1


def test_the_error_of_a_draw_covers_sequences_that_draw_alike():
    """Simulated: two samples of four sequences each, whose first positions share their draws."""
    rng, lengths, layers, share = np.random.default_rng(0), [(5, 5, 6, 9), (3, 3, 3, 3)], 3, 0.3
    tokens, sequences = np.array([sum(own) for own in lengths]), np.array([4, 4])
    means = []
    for _ in range(4000):
        extra = 0
        for own in lengths:
            draws = rng.random((layers, max(own))) < share
            extra += sum(draws[:, :length].sum() for length in own)
        means.append(extra / (layers * tokens.sum()))
    allowed = draw_error(4 + share, tokens, sequences, layers)
    assert 0.8 * allowed < np.std(means) < allowed


# --- files


def test_the_same_numbers_in_three_formats_with_their_stamp(study, tmp_path):
    folder = tmp_path / "aggregate"
    paths = write_equal_compute(study.path, folder, {"code": "abc"})
    names = {f"equal_compute{ending}" for ending in (".csv", ".json", ".parquet")}
    names |= {f"equal_compute{ending}.provenance.json" for ending in (".csv", ".json")}
    assert {path.name for path in paths} == {path.name for path in folder.iterdir()} == names
    stored = pq.read_table(folder / "equal_compute.parquet")
    assert stored.equals(equal_compute(study.path))
    assert read_stamp(folder / "equal_compute.parquet") == {"code": "abc"}
    assert json.loads((folder / "equal_compute.json").read_text()) == stored.to_pylist()
    with (folder / "equal_compute.csv").open(newline="") as file:
        for printed, row in zip(csv.DictReader(file), stored.to_pylist(), strict=True):
            for name, value in row.items():
                kind = {pa.string(): str, pa.int64(): int}.get(SCHEMA.field(name).type, float)
                assert (kind(printed[name]) if printed[name] else None) == value


def test_a_second_run_gives_the_same_bytes(study, tmp_path):
    for name in ("one", "two"):
        write_equal_compute(study.path, tmp_path / name, {"code": "abc"})
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
