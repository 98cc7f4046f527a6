"""Jobs of a search from files to files, in whichever process: a batch of points, and the best on the final text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from switchyard.artifacts.digests import digests
from switchyard.artifacts.files import read_json, read_table, write_json
from switchyard.artifacts.stamps import sha256_file, stamp
from switchyard.evaluation.job import check_packing, packing
from switchyard.models.kept import Loaded, load_kept
from switchyard.models.load import check_length
from switchyard.runtime.progress import bar
from switchyard.search.batches import Batch, run_batch
from switchyard.search.setup import Ready, Search, make_subject
from switchyard.search.spaces import made_spaces
from switchyard.search.validation import Validated, validate


class Job:
    """What every job of the stage is given: a model, a search, the files it reads."""

    def __init__(
        self,
        *,
        search: dict[str, Any],
        model: str,
        model_entry: dict[str, Any],
        reads: dict[str, str],
        bh_home: str | None,
        threads: int,
        gpu_mem_gb: int,
    ) -> None:
        torch.set_num_threads(threads)
        self.search, self.folder, self.reads, self.bh_home = Search(**search), Path(model), reads, bh_home
        self.structure = read_json(self.folder / "structure.json")
        check_packing(self.structure, model_entry, self.folder)
        self.dtype = model_entry["dtype"]
        self.loaded: Loaded = load_kept(self.folder, self.dtype, gpu_mem_gb)
        self.inputs = {"model": self.loaded.digest, **digests(reads)}
        self.asked = {"search": search, "dtype": self.dtype, "bh": bh_home, "threads": threads}
        self.asked |= packing(model_entry)

    def ready(self, text: dict[str, Any]) -> Ready:
        """The search on a text; kept with the model for the next job."""
        sizes = {name: text[name] for name in ("samples", "max_length")}
        check_length(self.folder, sizes["max_length"])
        key = (
            "search",
            repr(self.asked),
            repr(sizes),
            sha256_file(text["path"]),
            *sorted(self.inputs.items()),
        )
        if key not in self.loaded.kept:
            given = (self.loaded.model, self.loaded.tokenizer, self.structure, read_table(text["path"]))
            subject = make_subject(self.search, *given, **sizes)
            self.loaded.kept[key] = Ready(self.search, subject, self.reads, self.bh_home)
        return self.loaded.kept[key]

    def stamp(self, code: str, inputs: dict[str, str], **config: Any) -> dict[str, Any]:
        """The run stamp of a result."""
        model = {"name": self.folder.name, "dtype": self.dtype}
        return stamp(
            code=code, config={**self.asked, **config}, inputs={**self.inputs, **inputs}, model=model
        )


def sizes_of(text: dict[str, Any]) -> dict[str, Any]:
    """What of a text is run, without where it lies."""
    return {name: value for name, value in text.items() if name != "path"}


def evaluate_points(
    *,
    batch: dict[str, Any],
    text: dict[str, Any],
    earlier: list[str],
    others: list[str],
    output: str,
    code: str,
    **job: Any,
) -> None:
    """Evaluate a batch of points (`switchyard.search.batches.run_batch`). All arguments are what JSON can hold.

    Args:
        batch: fields of `Batch`.
        text: what every point is run on: `path` of a prepared text, `samples` to draw, `max_length` of a sequence.
        earlier: files that the batch is asked from.
        others: files of points that need not be computed again.
        output: the file to write.
        code: fingerprint of the library code.
        job: `search` (fields of `Search`), `model` (a prepared folder), `model_entry`, `reads`, `bh_home`, `threads`,
            `gpu_mem_gb`.
    """
    given = Job(**job)
    spaces = made_spaces(given.search.spaces, given.structure, given.reads)
    ready = given.ready(text)
    inputs = {f"batch_{number}": path for number, path in enumerate(earlier)}
    made = given.stamp(code, {"text": text["path"], **inputs}, batch=batch, text=sizes_of(text))
    name = f"{batch['method']} {batch['seed']} batch {batch['number']}"
    with bar(len(spaces) * batch["q"], name, unit="points") as progress:
        run_batch(
            ready,
            spaces,
            Batch(**batch),
            earlier,
            output,
            others=others,
            stamp=made,
            progress=progress.update,
        )


def validate_search(
    *,
    tuning: dict[str, Any],
    final: dict[str, Any],
    manual: dict[str, dict[str, Any]],
    best: dict[str, str],
    outputs: dict[str, str],
    manual_output: str,
    code: str,
    **job: Any,
) -> None:
    """Evaluate what each method found on the final text, once, and manual configurations on both texts.

    Args:
        tuning: what was searched on, see `evaluate_points`.
        final: the same for the text that nothing was chosen on.
        manual: fields of a VARConfig by name: what is compared with.
        best: `best_config.json` by method.
        outputs: `validation.json` by method.
        manual_output: where the results of the manual ones go.
        job: see `evaluate_points`.
    """
    given = Job(**job)
    texts = {"tuning": given.ready(tuning), "final": given.ready(final)}
    compared = {
        name: {
            "config": settings,
            **{text: validate(ready, settings).as_json() for text, ready in texts.items()},
        }
        for name, settings in manual.items()
    }
    inputs = {"tuning": tuning["path"], "final": final["path"]}
    sizes = {"tuning": sizes_of(tuning), "final": sizes_of(final)}
    made = given.stamp(code, inputs, manual=manual, **sizes)
    write_json(manual_output, {"manual": compared, "provenance": made})
    for method, path in best.items():
        config = {name: value for name, value in read_json(path).items() if name != "provenance"}
        found: Validated = validate(texts["final"], config)
        made = given.stamp(code, {"final": final["path"], "best_config": path}, final=sizes["final"])
        write_json(
            outputs[method],
            {"method": method, "config": config, **found.as_json(), "provenance": made},
        )
