"""Rule draw_var: VAR's comparison and sweep of a model -> its figures."""

from pathlib import Path

from switchyard.artifacts.files import read_json, read_table
from switchyard.artifacts.stamps import stamp
from switchyard.charts.save import save
from switchyard.charts.var.comparison import var_comparison
from switchyard.charts.var.sweep import var_sweep
from switchyard.runtime.log import logged


def main(*, name: str, comparison: Path, sweep: Path, folder: Path, code: str) -> None:
    inputs = {"comparison": comparison, "sweep": sweep}
    made = stamp(code=code, config={}, inputs=inputs, model={"name": name})
    save(var_comparison(read_json(comparison)["comparisons"]), folder, "var_comparison", made)
    save(var_sweep(read_table(sweep).to_pandas()), folder, "var_sweep", made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.model,
            comparison=Path(snakemake.input.comparison),
            sweep=Path(snakemake.input.sweep),
            folder=Path(snakemake.output[0]).parent,
            code=snakemake.params.code,
        )
