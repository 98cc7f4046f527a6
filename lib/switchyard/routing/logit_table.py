"""Router logits on disk: one row per token and layer, `layer` and `logits` (float32 [num_experts]).

They are what a family chooses experts by (`switchyard.models.scores`): with a correction bias not logits but scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from switchyard.artifacts.files import PARQUET, VERIFIED, atomic, readable, stamped
from switchyard.models.scores import Scores


def write_logits(
    path: str | Path, layers: list[np.ndarray], stamp: dict, scores: Scores | None = None
) -> None:
    """Write float32 logits [tokens, num_experts] of every layer, a row group each."""
    with atomic(path) as partial:
        writer = None
        for layer, logits in enumerate(layers):
            table = pa.table(
                {
                    "layer": pa.array(np.full(len(logits), layer, np.int16)),
                    "logits": pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel()), logits.shape[1]),
                }
            )
            table = stamped(table.replace_schema_metadata((scores or Scores()).metadata()), stamp)
            if writer is None:
                floats = {
                    "column_encoding": {"logits.list.element": "BYTE_STREAM_SPLIT"},
                    "use_dictionary": ["layer"],
                }
                writer = pq.ParquetWriter(partial, table.schema, **PARQUET, **floats)
            writer.write_table(table, row_group_size=max(1, len(logits)))
        writer.close()


def read_logits(path: str | Path, *, as_rules_see: bool = False) -> Iterator[np.ndarray]:
    """Float32 logits [tokens, num_experts], layer by layer in order.

    `as_rules_see`: minus infinity for experts outside a token's best groups, where the family has groups.
    """
    scores = Scores.of_file(path) if as_rules_see else Scores()
    with readable(path), pq.ParquetFile(path, **VERIFIED) as file:
        for group in range(file.num_row_groups):
            column = file.read_row_group(group, columns=["logits"])["logits"].combine_chunks()
            yield scores.eligible(column.flatten().to_numpy().reshape(len(column), -1))
