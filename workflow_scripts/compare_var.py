"""Rule compare_var: results of VAR and of the untouched model -> paired tests, criteria, tables."""

from pathlib import Path
from typing import Any

from switchyard.artifacts.files import read_json, write_json, write_text
from switchyard.artifacts.stamps import attach_to, sha256_json, stamp
from switchyard.runtime.log import logged
from switchyard.var.comparison import summary
from switchyard.var.results import BASELINE, compare, result, stats_of, table


def main(
    *,
    name: str,
    runs: list[Path],
    timed: Path,
    outputs: dict[str, Path],
    configs: list[str],
    datasets: list[str],
    code: str,
) -> None:
    read = [read_json(path) for path in runs]
    grouped = {
        (config, dataset): [run for run in read if (run["name"], run["dataset_name"]) == (config, dataset)]
        for config in [BASELINE, *configs]
        for dataset in datasets
    }
    timings = read_json(timed)["timings"]
    found = compare(grouped, timings)
    inputs = {"runs": sha256_json([run["provenance"] for run in read]), "speed": timed}
    made = {"provenance": stamp(code=code, config=datasets, inputs=inputs, model={"name": name})}
    write_json(outputs["comparison"], {"model": name, "comparisons": found, **made})
    tests = [
        {"config": one["name"], "dataset": one["dataset"], **one["quality"], "speed": one["speed"]}
        for one in found
    ]
    write_json(outputs["tests"], {"model": name, "tests": tests, **made})
    results = {
        config: {dataset: result(grouped[config, dataset]) for dataset in datasets}
        for config in [BASELINE, *configs]
    }
    write_json(outputs["baseline"], {**results[BASELINE][datasets[0]], "datasets": results[BASELINE], **made})
    write_json(
        outputs["var"],
        {**_main(results, configs)[datasets[0]], "configs": {one: results[one] for one in configs}, **made},
    )
    stats: dict[str, Any] = {
        one: {data: stats_of(grouped[one, data]) for data in datasets} for one in configs
    }
    for one in configs:
        stats[one]["cache_simulation"] = grouped[one, datasets[0]][0]["cache_simulation"]
    write_json(outputs["performance"], {"model": name, "configs": stats, **made})
    write_text(outputs["table"], table(found).to_csv(index=False))
    attach_to(outputs["table"], made["provenance"])
    for one in found:
        if one["kind"] == "text":
            print(summary(one))


def _main(results: dict[str, Any], configs: list[str]) -> Any:
    """The configuration that the README calls recommended, or the first."""
    return results["balanced" if "balanced" in configs else configs[0]]


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.model,
            runs=[Path(path) for path in snakemake.input.runs],
            timed=Path(snakemake.input.speed),
            outputs={key: Path(path) for key, path in snakemake.output.items()},
            configs=snakemake.params.configs,
            datasets=snakemake.params.datasets,
            code=snakemake.params.code,
        )
