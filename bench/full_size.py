"""One experiment on a random model of OLMoE-1B-7B's full size, packed while it is read; its memory and time.

    python -m bench.full_size --folder FOLDER                     write the checkpoint (14 GB) unless it is there, nf4
    python -m bench.full_size --folder FOLDER --experts none --rest none      the same with the weights as they are
    python -m bench.full_size --folder FOLDER --tiny              the script itself, on small dimensions

The layout is that of the hub, a file for each layer and a matrix for each expert. Memory is what the process
holds beside mapped files (RssAnon), whose pages the kernel drops when memory is short, as its largest value.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file
from transformers import OlmoeConfig

from bench.gpu_steps import OLMOE, ROOT, TINY_OLMOE
from switchyard.artifacts.files import write_json
from switchyard.evaluation.run import Files, write_experiment
from switchyard.models.blocks import describe
from switchyard.models.load import load_config, load_model, load_tokenizer
from switchyard.models.quantised_sizes import QUANTISE, Quantise
from switchyard.planning import footprint
from switchyard.routing import TopK
from switchyard.study.experiment import Experiment, Run

POCKET = ROOT / "resources" / "pocket-olmoe"
"""Whose tokenizer is used: its ids are among those of the large vocabulary."""


def main() -> None:
    """Print what was found as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.full_size", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--folder", type=Path, required=True, help="of the checkpoint and the results")
    add("--experts", default="nf4", choices=["none", "nf4", "int8"])
    add("--rest", default="nf4", choices=["none", "nf4", "int8"])
    add("--threads", type=int, default=2)
    add("--windows", type=int, default=4, help="samples of 256 tokens")
    add("--batch-tokens", type=int, default=512)
    add("--tiny", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    checkpoint = given.folder / "model"
    if not (checkpoint / "model.safetensors.index.json").is_file():
        write_checkpoint(checkpoint, TINY_OLMOE if given.tiny else OLMOE)
    quantise = Quantise(given.experts, given.rest)
    print(json.dumps(measure(given.folder, quantise, given.windows, given.batch_tokens), indent=1))


def write_checkpoint(folder: Path, sizes: dict[str, int]) -> None:
    """Random weights, a layer in memory at a time."""
    config = OlmoeConfig(
        **sizes, architectures=["OlmoeForCausalLM"], eos_token_id=0, pad_token_id=1, dtype="bfloat16"
    )
    folder.mkdir(parents=True)
    weight_map = {}
    for layer in range(-1, config.num_hidden_layers):
        name = "head.safetensors" if layer < 0 else f"{layer:02d}.safetensors"
        tensors = _head(config) if layer < 0 else _layer(config, layer)
        save_file(tensors, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
        print(f"{name} written", flush=True)
    load_tokenizer(POCKET).save_pretrained(folder)
    config.save_pretrained(folder)
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})


def _head(config: OlmoeConfig) -> dict[str, torch.Tensor]:
    shape = config.vocab_size, config.hidden_size
    named = {name: _random(*shape) for name in ("model.embed_tokens.weight", "lm_head.weight")}
    return named | {"model.norm.weight": torch.ones(config.hidden_size, dtype=torch.bfloat16)}


def _layer(config: OlmoeConfig, layer: int) -> dict[str, torch.Tensor]:
    width, inner = config.hidden_size, config.intermediate_size
    own = {f"self_attn.{name}_proj.weight": _random(width, width) for name in "qkvo"}
    norms = ("input_layernorm", "post_attention_layernorm", "self_attn.q_norm", "self_attn.k_norm")
    own |= {f"{name}.weight": torch.ones(width, dtype=torch.bfloat16) for name in norms}
    own["mlp.gate.weight"] = _random(config.num_experts, width)
    for expert in range(config.num_experts):
        shapes = {"gate_proj": (inner, width), "up_proj": (inner, width), "down_proj": (width, inner)}
        own |= {f"mlp.experts.{expert}.{name}.weight": _random(*shape) for name, shape in shapes.items()}
    return {f"model.layers.{layer}.{name}": weight for name, weight in own.items()}


def _random(*shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=torch.bfloat16).normal_(std=shape[-1] ** -0.5)


def measure(folder: Path, quantise: Quantise, windows: int, batch_tokens: int) -> dict[str, Any]:
    """Seconds of loading and of one experiment, its tokens, and the largest memory by then."""
    write_json(folder / "model" / QUANTISE, quantise.as_json())
    structure = describe(load_config(folder / "model")) | {"quantise": quantise.as_json()}
    with Memory() as memory:
        start = time.perf_counter()
        model = load_model(folder / "model", dtype="bfloat16")
        loaded, loaded_gb = time.perf_counter() - start, memory.peak_gb
        tokens = _experiment(folder, model, structure, windows, batch_tokens)
    return {
        "quantise": str(quantise),
        "load_seconds": loaded,
        "load_peak_gb": loaded_gb,
        "seconds": time.perf_counter() - start - loaded,
        "tokens": tokens,
        "peak_gb": memory.peak_gb,
        "weights_gb": sum(one.nbytes for one in model.state_dict().values()) / footprint.GB,
        "planned_weights_gb": footprint.weights_gb(structure, "bfloat16"),
        "planned_gb": footprint.mem_mb(structure, "bfloat16", batch_tokens, slots=8) / 1000,
        "planned_gb_as_they_are": footprint.mem_mb(
            structure | {"quantise": None}, "bfloat16", batch_tokens, slots=8
        )
        / 1000,
    }


def _experiment(folder: Path, model: Any, structure: dict[str, Any], windows: int, batch_tokens: int) -> int:
    """The trained top-k on the documentation of this project: trace, scores, repeats, log; returns the tokens."""
    text = (ROOT / "docs" / "routing-rules.md").read_text(encoding="utf-8")
    sizes = {"original_bytes": [len(text.encode())], "original_words": [len(text.split())]}
    table = pa.table({"sample_id": [0], "page": [0], "text": [text], **sizes})
    entry = {"kind": "perplexity", "max_length": 256, "samples": windows}
    run = Run(
        batch_tokens=batch_tokens, threads=torch.get_num_threads(), keep_logits=True, spelled_out_samples=1
    )
    settings = {"k": structure["top_k"], "weighting": "model"}
    names = {"study": "full-size", "model": "random-olmoe", "config": "trained", "dataset": "docs"}
    home = "switchyard.routing.topk:TopK"
    what = Experiment(
        **names,
        rule="topk",
        home=home,
        settings=settings,
        model_entry={"dtype": "bfloat16"},
        dataset_entry=entry,
        run=run,
    )
    own = folder / "results" / "evaluate" / "random-olmoe"
    places = {name: own / name / "e.parquet" for name in ("trace", "scores", "trace_repeat", "scores_repeat")}
    head = what.head(TopK(**settings), structure) | {"provenance": {}}
    tokenizer = load_tokenizer(folder / "model")
    files = Files(**places, log=own / "log" / "e.json")
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
    write_experiment(model, tokenizer, what, TopK(**settings), table, files, head=head)
    return pq.read_metadata(files.trace).num_rows // structure["num_layers"]


class Memory:
    """The most memory beside mapped files that this process held inside the `with` block."""

    peak_gb = 0.0

    def __enter__(self) -> Memory:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            held = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
            self.peak_gb = max(self.peak_gb, held * 1024 / footprint.GB)


if __name__ == "__main__":
    main()
