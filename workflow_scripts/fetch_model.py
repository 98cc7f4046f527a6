"""Rule fetch_model: a checkpoint on disk or on the hub -> a checked model folder with its structure."""

from pathlib import Path
from typing import Any

from switchyard.artifacts.digests import write_digests
from switchyard.artifacts.files import atomic, write_json
from switchyard.artifacts.stamps import stamp
from switchyard.models.blocks import check_stated
from switchyard.models.load import (
    check_folder,
    copy_folder,
    hub_folder,
    link_hub_snapshot,
    load_config,
    write_quantise,
)
from switchyard.models.routers import check_family
from switchyard.runtime.log import logged
from switchyard.study.models import checkpoint_folder


def main(*, entry: dict[str, Any], output: Path, code: str) -> None:
    with atomic(output) as partial:
        if entry["source"] == "hub":
            pinned = entry["repository"], entry["revision"]
            check_family(load_config(hub_folder(*pinned, ["config.json"])))  # before gigabytes are downloaded
            source = link_hub_snapshot(*pinned, partial)
        else:
            source = checkpoint_folder(entry)
        structure = check_family(load_config(source))
        check_stated(structure, entry["structure"] or {})
        check_folder(source)
        if entry["source"] != "hub":
            copy_folder(source, partial)
        structure |= write_quantise(partial, entry.get("quantise"))
        settings = {key: value for key, value in entry.items() if key != "path"}
        made = stamp(code=code, config=settings, inputs=write_digests(partial))
        write_json(partial / "structure.json", {**structure, "provenance": made})


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(entry=snakemake.params.entry, output=Path(snakemake.output[0]), code=snakemake.params.code)
