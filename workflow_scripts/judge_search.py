"""Rule judge_search: trajectories and validations of a model -> summary, and partial dependences."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from switchyard.artifacts.files import read_json, read_table, write_json, write_table
from switchyard.artifacts.stamps import stamp
from switchyard.runtime.log import logged
from switchyard.search.sensitivity import sensitivities
from switchyard.search.spaces import made_spaces
from switchyard.search.summary import summary


def main(
    *,
    trajectories: dict[str, Path],
    validations: dict[str, Path],
    manual: Path,
    model: Path,
    reads: dict[str, str],
    outputs: dict[str, Path],
    spaces: dict[str, dict[str, Any]],
    settings: dict[str, Any],
    code: str,
) -> None:
    found = made_spaces(spaces, read_json(model / "structure.json"), reads)
    rows = {method: read_table(path).to_pandas() for method, path in trajectories.items()}
    inputs = {"/".join(path.parts[-2:]): path for path in (*trajectories.values(), *validations.values())}
    made = stamp(
        code=code,
        config={"spaces": spaces, **settings},
        inputs={**inputs, "manual": manual, **reads},
        model={"name": model.name},
    )
    validated = {method: read_json(path) for method, path in validations.items()}
    content = {"model": model.name, "settings": settings}
    content |= summary(rows, found, read_json(manual)["manual"], validated)
    write_json(outputs["summary"], {**content, "provenance": made})
    table = pa.Table.from_pandas(sensitivities(rows.values(), found), preserve_index=False)
    write_table(outputs["sensitivity"], table, {"provenance": made})


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        methods = snakemake.params.methods
        main(
            trajectories=dict(zip(methods, map(Path, snakemake.input.trajectories), strict=True)),
            validations=dict(zip(methods, map(Path, snakemake.input.validations), strict=True)),
            manual=Path(snakemake.input.manual),
            model=Path(snakemake.input.model),
            reads=snakemake.params.reads,
            outputs={name: Path(path) for name, path in snakemake.output.items()},
            spaces=snakemake.params.spaces,
            settings=snakemake.params.settings,
            code=snakemake.params.code,
        )
