"""Synthetic studies: files as an evaluation writes them, the heads that describe them, and their database."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reference.synthetic import random_forward, write_scores, write_trace
from switchyard.artifacts.files import write_table
from switchyard.warehouse.build import build
from switchyard.warehouse.database import open_read_only, rows

STRUCTURE = {
    "num_hidden_layers": 5,
    "dense_intermediate_size": 7,
    "hidden_size": 12,
    "intermediate_size": 5,
    "num_heads": 3,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "vocab_size": 50,
}
SPEED = {
    "model": "tiny",
    "tokens_per_second": 1234.5,
    "latency_ms_per_token": 3.25,
    "latency_p50_ms": 3.25,
    "latency_p95_ms": 4.5,
    "latency_p99_ms": 9.75,
}
BATCHES = [{(2, 0): 5, (0, 0): 9}, {(1, 0): 4, (3, 0): 6}]
OPTIONS = [{(2, 0): 5, (0, 1): 9}, {(0, 0): 4, (3, 0): 6, (1, 0): 2, (1, 1): 3}]


class Study:
    """A study folder in the making; `add` writes an experiment's files, `build` the database."""

    def __init__(self, folder):
        self.folder, self.heads = folder, []

    def add(
        self, config, dataset="text", *, kind="perplexity", seed=0, keep_logits=True, model="tiny", **head
    ):
        head = {"strategy": "bh", "k_or_max_k": 4, "min_k": 1, "num_experts": 6, "num_layers": 3, **head}
        rng = np.random.default_rng(seed)
        shape = {
            "experts": head["num_experts"],
            "layers": head["num_layers"],
            "low": head["min_k"],
            "high": head["k_or_max_k"],
            "tested": head["strategy"] == "bh",
        }
        batches = OPTIONS if kind == "choice" else BATCHES
        forwards = [random_forward(batch, rng, scramble=True, **shape) for batch in batches]
        lengths = {key: length for batch in batches for key, length in batch.items()}
        repeated_lengths = {key: lengths[key] for key in sorted(lengths, reverse=True) if key[0] < 2}
        again = [random_forward(repeated_lengths, rng, scramble=True, **shape)]
        paths = {key: self.folder / model / key / f"{config}_{dataset}.parquet" for key in FILES}
        write_trace(paths["trace"], forwards, keep_logits=keep_logits)
        write_trace(paths["trace_repeat"], again, keep_logits=keep_logits)
        tokens = {}
        for (sample, _), length in lengths.items():
            tokens[sample] = tokens.get(sample, 0) + length
        scores = write_scores(paths["scores"], kind, tokens, rng)
        write_table(paths["scores_repeat"], repeated(scores))
        self.heads.append(
            {
                "schema_version": 1,
                "study": "made-up",
                "model": model,
                "config": config,
                "set_name": head["strategy"],
                "label": config.replace("_", " "),
                "dataset": dataset,
                "kind": kind,
                "alpha": 0.3 if head["strategy"] == "bh" else None,
                "null": "pooled" if head["strategy"] == "bh" else None,
                "weighting": "model",
                "trained_top_k": 2,
                "provenance": {"code": "abc", "nested": {"seed": seed}},
                **head,
                **paths,
            }
        )
        return self.heads[-1]

    @property
    def database(self):
        return self.folder / "study.duckdb"

    def build(self, speed_rows=()):
        build(
            self.database,
            experiments=self.heads,
            speed_rows=speed_rows,
            structures={head["model"]: STRUCTURE for head in self.heads},
            study_folder=self.folder,
        )
        return self

    def query(self, text):
        with open_read_only(self.database) as connection:
            return rows(connection, text)


def repeated(scores):
    """The first two samples again, the second predicted otherwise."""
    argmax = scores["argmax_ids"].to_pylist()[:2]
    argmax[1][-1] += 1
    at = scores.schema.get_field_index("argmax_ids")
    return scores.slice(0, 2).set_column(at, scores.schema.field(at), pa.array(argmax, pa.list_(pa.int32())))


FILES = ("trace", "trace_repeat", "scores", "scores_repeat")


def read(head):
    """The rows of an experiment's files."""
    return SimpleNamespace(**{key: pq.read_table(head[key]).to_pylist() for key in FILES if head[key]})
