"""Rule write_var_configs: VAR's configurations as JSON."""

from pathlib import Path
from typing import Any

from switchyard.artifacts.files import write_json
from switchyard.artifacts.stamps import stamp
from switchyard.runtime.log import logged
from switchyard.var.config import configured


def main(*, configs: dict[str, dict[str, Any]], outputs: list[Path], code: str) -> None:
    for (name, settings), path in zip(configs.items(), outputs, strict=True):
        made = stamp(code=code, config={"name": name, **settings}, inputs={})
        write_json(path, {**configured(settings)[0].as_json(), "provenance": made})


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            configs=snakemake.params.configs,
            outputs=[Path(path) for path in snakemake.output],
            code=snakemake.params.code,
        )
