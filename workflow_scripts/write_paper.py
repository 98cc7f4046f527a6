"""Rule write_paper: findings, routing statistics, VAR's results -> the paper's tables, numbers and claims."""

import json
from pathlib import Path

import pandas as pd

from switchyard.artifacts.files import read_json, read_table, write_text
from switchyard.artifacts.stamps import attach_to, stamp
from switchyard.reporting import paper_tables
from switchyard.reporting.latex import tabular
from switchyard.reporting.paper_numbers import (
    claims,
    letters_of,
    numbers_table,
    numbers_tex,
    of_findings,
    of_study,
    of_var,
)
from switchyard.runtime.log import logged

LONG = ("metrics_cost", "metrics_routing", "league", "ablation", "sensitivity")
"""Tables of the supplementary material."""


def main(
    *,
    study: str,
    inputs: dict[str, list[Path]],
    models: list[str],
    thresholds: dict[str, float],
    tables: Path,
    numbers: Path,
    code: str,
) -> None:
    paths = {f"{name} {path.parent.name}": path for name, found in inputs.items() for path in found}
    made = stamp(code=code, config={"study": study, **thresholds}, inputs=paths)
    note = f"% {json.dumps(made, sort_keys=True)}\n"
    findings = pd.read_csv(inputs["findings"][0])
    comparisons = {one["model"]: one["comparisons"] for one in map(read_json, inputs["comparisons"])}
    speeds = {one["model"]: one for one in map(read_json, inputs["speeds"])}
    stats = {name: read_table(path).to_pandas() for name, path in zip(models, inputs["stats"], strict=True)}
    overall, configurations = (read_table(path).to_pandas() for path in inputs["tables"])
    labels = configurations.set_index(["model", "config_name"])["label"].to_dict()
    found = {
        "routing_by_frequency": paper_tables.routing_by_frequency(stats, thresholds),
        "downstream": paper_tables.downstream(comparisons),
        "performance": paper_tables.performance(speeds, comparisons),
        "metrics_cost": paper_tables.metrics(overall, labels, paper_tables.COST_METRICS),
        "metrics_routing": paper_tables.metrics(overall, labels, paper_tables.ROUTING_METRICS),
        "verdicts": paper_tables.verdicts(findings),
        "league": paper_tables.league(findings),
    }
    if inputs["ablations"]:
        found["ablation"] = paper_tables.ablation(_by_model(inputs["ablations"]))
    if inputs["sensitivities"]:
        found["sensitivity"] = paper_tables.sensitivity(_by_model(inputs["sensitivities"]))
    for name, (frame, kinds) in found.items():
        write_text(tables / f"{name}.tex", note + tabular(frame, kinds, long=name in LONG))
        write_text(tables / f"{name}.csv", frame.to_csv(index=False))
        attach_to(tables / f"{name}.csv", made)
    cells = [*of_findings(findings), *of_var(comparisons, letters_of(list(findings["model"].unique())))]
    said = {**of_study(study, made), **claims(inputs["answer"][0].read_text(encoding="utf-8"), comparisons)}
    write_text(numbers, note + numbers_tex(cells, said))
    write_text(numbers.with_suffix(".csv"), numbers_table(cells).to_csv(index=False))
    attach_to(numbers.with_suffix(".csv"), made)


def _by_model(paths: list[Path]) -> dict[str, pd.DataFrame]:
    return {path.parent.name: read_table(path).to_pandas() for path in paths}


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            study=snakemake.params.study,
            inputs={name: [Path(path) for path in found] for name, found in snakemake.input.items()},
            models=snakemake.params.models,
            thresholds=snakemake.params.thresholds,
            tables=Path(snakemake.output.tables[0]).parent,
            numbers=Path(snakemake.output.numbers),
            code=snakemake.params.code,
        )
