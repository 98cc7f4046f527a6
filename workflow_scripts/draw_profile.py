"""Rule draw_profile: a model's profile -> its figures."""

from pathlib import Path

import pandas as pd

from switchyard.artifacts.files import read_json, read_table
from switchyard.artifacts.stamps import stamp
from switchyard.charts.profile.break_even import profile_break_even
from switchyard.charts.profile.components import profile_components
from switchyard.charts.profile.latency import profile_latency
from switchyard.charts.profile.roofline import profile_roofline
from switchyard.charts.profile.scaling import profile_scaling
from switchyard.charts.save import save
from switchyard.runtime.log import logged


def main(*, name: str, inputs: dict[str, Path], folder: Path, code: str) -> None:
    made = stamp(code=code, config={}, inputs=inputs, model={"name": name})
    fitted = read_json(inputs["performance_model"])
    tables = {table: pd.read_csv(inputs[table]) for table in ("components", "scaling", "roofline")}
    figures = {
        "profile_components": profile_components(tables["components"]),
        "profile_scaling": profile_scaling(tables["scaling"]),
        "profile_roofline": profile_roofline(tables["roofline"], fitted["ceilings"]),
        "profile_latency": profile_latency(read_table(inputs["latency"]).to_pandas()),
        "profile_break_even": profile_break_even(fitted["curves"]),
    }
    for figure, chart in figures.items():
        save(chart, folder, figure, made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.model,
            inputs={name: Path(path) for name, path in snakemake.input.items()},
            folder=Path(snakemake.output[0]).parent,
            code=snakemake.params.code,
        )
