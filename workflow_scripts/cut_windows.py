"""Rule cut_windows: the offline side of a corpus -> windows of token ids in batches."""

from pathlib import Path

from switchyard.artifacts.stamps import stamp
from switchyard.models.load import check_length, load_tokenizer
from switchyard.observation.windows import write_windows
from switchyard.runtime.log import logged
from switchyard.text.corpora import documents_of


def main(
    *,
    corpus: Path,
    model: Path,
    output: Path,
    tokens: int | None,
    max_length: int,
    batch_tokens: int,
    code: str,
) -> None:
    check_length(model, max_length)
    settings = {"tokens": tokens, "max_length": max_length, "batch_tokens": batch_tokens}
    inputs = {"corpus": corpus, "tokenizer": model / "tokenizer.json"}
    write_windows(
        output,
        documents_of(corpus, "offline"),
        load_tokenizer(model),
        **settings,
        stamp={"provenance": stamp(code=code, config=settings, inputs=inputs)},
    )


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            corpus=Path(snakemake.input.corpus[0]),
            model=Path(snakemake.input.model),
            output=Path(snakemake.output[0]),
            tokens=snakemake.params.tokens,
            max_length=snakemake.params.max_length,
            batch_tokens=snakemake.params.batch_tokens,
            code=snakemake.params.code,
        )
