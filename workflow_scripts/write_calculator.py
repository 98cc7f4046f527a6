"""Rule write_calculator: a fitted performance model -> a page that predicts in the browser."""

from pathlib import Path

from switchyard.artifacts.files import read_json
from switchyard.artifacts.stamps import stamp
from switchyard.profiling.performance_model import PerformanceModel
from switchyard.reporting.calculator import write_calculator
from switchyard.runtime.log import logged


def main(*, name: str, model: Path, output: Path, code: str) -> None:
    made = stamp(code=code, config={}, inputs={"performance_model": model}, model={"name": name})
    fitted = PerformanceModel.from_json(read_json(model))
    write_calculator(output, fitted, title=f"Performance calculator: {name}", stamp=made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.model,
            model=Path(snakemake.input[0]),
            output=Path(snakemake.output[0]),
            code=snakemake.params.code,
        )
