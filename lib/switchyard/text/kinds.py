"""The four kinds of prepared dataset and their tables.

| kind | columns of the prepared table |
|---|---|
| perplexity | sample_id, text, page, original_bytes, original_words: one row a page |
| cloze | sample_id, context, target: the last word, without the space before it |
| choice | sample_id, context, options, characters, label: one of the options is true |
| code | sample_id, task_id, prompt, head, tests, stop, solution: a program is head, completion, tests |
"""

from __future__ import annotations

import pyarrow as pa

from switchyard.errors import InputError

SCHEMAS: dict[str, pa.Schema] = {
    "perplexity": pa.schema(
        {
            "sample_id": pa.int64(),
            "text": pa.string(),
            "page": pa.int64(),
            "original_bytes": pa.int64(),
            "original_words": pa.int64(),
        }
    ),
    "cloze": pa.schema({"sample_id": pa.int64(), "context": pa.string(), "target": pa.string()}),
    "choice": pa.schema(
        {
            "sample_id": pa.int64(),
            "context": pa.string(),
            "options": pa.list_(pa.string()),
            "characters": pa.list_(pa.int64()),
            "label": pa.int64(),
        }
    ),
    "code": pa.schema(
        {
            "sample_id": pa.int64(),
            "task_id": pa.string(),
            "prompt": pa.string(),
            "head": pa.string(),
            "tests": pa.string(),
            "stop": pa.list_(pa.string()),
            "solution": pa.string(),
        }
    ),
}
"""Columns of a prepared table by kind."""


def kind_of(table: pa.Table) -> str:
    """The kind of a prepared table, recognised by its columns.

    Raises:
        InputError: the columns are those of no kind.
    """
    for kind, column in {
        "code": "tests",
        "choice": "options",
        "cloze": "target",
        "perplexity": "text",
    }.items():
        if column in table.column_names:
            return kind
    raise InputError(
        f"a table with columns {', '.join(table.column_names)} is no prepared dataset; prepare it again"
    )
