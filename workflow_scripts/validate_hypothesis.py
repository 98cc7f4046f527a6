"""Rule validate_hypothesis: routing statistics -> the verdict on VAR's hypothesis, and the same in words."""

from pathlib import Path

from switchyard.artifacts.files import read_json, read_table, write_json, write_text
from switchyard.artifacts.stamps import attach_to, stamp
from switchyard.observation.hypothesis import validate
from switchyard.observation.validation_report import report_text
from switchyard.runtime.log import logged


def main(
    *,
    name: str,
    statistics: Path,
    model: Path,
    verdict: Path,
    report: Path,
    thresholds: dict[str, float],
    code: str,
) -> None:
    found = validate(
        read_table(statistics),
        **thresholds,
        special_ids=(),  # they were never counted, and a token may look like a special one
        num_experts=read_json(model / "structure.json")["num_experts"],
        place=f"routing statistics of {name}",
    )
    made = stamp(code=code, config=thresholds, inputs={"statistics": statistics}, model={"name": name})
    write_json(verdict, {"model": name, **found.as_json(), "provenance": made})
    write_text(report, f"Model: {name}\n{report_text(found)}")
    attach_to(report, made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.model,
            statistics=Path(snakemake.input.statistics),
            model=Path(snakemake.input.model),
            verdict=Path(snakemake.output.verdict),
            report=Path(snakemake.output.report),
            thresholds={
                "frequency_threshold": snakemake.params.frequency_threshold,
                "entropy_threshold": snakemake.params.entropy_threshold,
            },
            code=snakemake.params.code,
        )
