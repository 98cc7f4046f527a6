"""Rule compile_paper: the paper's LaTeX, tables, figures and numbers -> two PDF files."""

import os
import subprocess
import tempfile
from pathlib import Path

from switchyard.artifacts.files import atomic
from switchyard.artifacts.stamps import attach_to, stamp
from switchyard.errors import InputError
from switchyard.runtime.log import logged


def main(*, sources: list[Path], folder: Path, documents: list[str], code: str) -> None:
    parts = [*folder.glob("tables/*.tex"), *folder.glob("figures/*.pdf"), folder / "numbers.tex"]
    inputs = {str(path.relative_to(folder)): path for path in parts} | {path.name: path for path in sources}
    made = stamp(code=code, config={}, inputs=inputs)
    # The date of the files is fixed, so that the same input gives the same bytes.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1"}
    environment["TEXINPUTS"] = f".:{folder.resolve()}:{sources[0].parent.resolve()}:"
    for name in documents:
        with tempfile.TemporaryDirectory(prefix="switchyard-") as scratch:
            source = next(path for path in sources if path.stem == name)
            command = ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", str(source.resolve())]
            ran = subprocess.run(
                command, cwd=scratch, env=environment, capture_output=True, text=True, errors="replace"
            )
            print(ran.stdout[-4000:])
            if ran.returncode:
                raise InputError(
                    f"{source}: latexmk failed, see the log of this job; install the packages that it misses"
                )
            with atomic(folder / f"{name}.pdf") as partial:
                partial.write_bytes((Path(scratch) / f"{name}.pdf").read_bytes())
        attach_to(folder / f"{name}.pdf", made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            sources=[Path(path) for path in snakemake.input.sources],
            folder=Path(snakemake.output.paper).parent,
            documents=["paper", "supplementary"],
            code=snakemake.params.code,
        )
