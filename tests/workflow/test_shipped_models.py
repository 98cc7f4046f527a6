"""The shipped models are the ones their cards describe, and good enough to study routing on."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import torch

from switchyard.models.load import load_model, load_tokenizer
from switchyard.models.pocket import encode, mean_loss
from switchyard.study import config as configuration
from switchyard.text.corpus import fingerprint, harvest
from switchyard.text.manifest import moved
from workflow.checkout import ROOT

MODELS = ("pocket-olmoe", "pocket-mixtral")
MOST_BYTES = 15_000_000


def folder(name: str) -> Path:
    return ROOT / "resources" / name


@pytest.mark.parametrize("name", MODELS)
def test_recipe_of_the_config_made_the_model(name: str):
    schema = configuration.read(ROOT / "config.schema.yaml")
    config = configuration.resolve(configuration.read(ROOT / "config.yaml"), schema, ROOT)
    recipe = json.loads((folder(name) / "training.json").read_text())["recipe"]
    assert recipe == config["models"][name]["training"]


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_small_safetensors(name: str):
    assert (folder(name) / "model.safetensors").stat().st_size <= MOST_BYTES
    assert {path.suffix for path in folder(name).iterdir()} <= {".safetensors", ".json", ".md"}


@pytest.mark.parametrize("name", MODELS)
def test_card_tells_a_real_model(name: str):
    card = (folder(name) / "README.md").read_text()
    assert float(re.search(r"perplexity ([\d.]+)", card)[1]) <= 20
    rows = re.findall(r"accuracy [\d.]+ ± [\d.]+ \| [\d.]+ \| ([\d.]+) \|", card)
    assert len(rows) == 2 and all(float(above) >= 3 for above in rows)
    assert re.search(r"Fingerprint `[0-9a-f]{64}`", card)
    balance = re.findall(r"^\| \d+ \| (\d+) \| ([\d.]+) \|$", card, re.MULTILINE)
    used = 48 if "olmoe" in name else 8
    assert balance and all(int(experts) >= used and float(busiest) <= 8 for experts, busiest in balance)


@pytest.mark.slow
def test_corpus_is_the_one_the_models_were_trained_on():
    documents = harvest()
    assert moved(documents, ROOT / "resources" / "pocket-corpus.tsv") == []
    assert fingerprint(documents) in (folder("pocket-olmoe") / "README.md").read_text()


def test_shipped_model_predicts_held_out_text():
    """Its loss on the first validation windows, with the shipped weights: no card can make that up."""
    torch.set_num_threads(1)
    texts = [document.text for document in harvest(("numpy",)) if document.split == "test"]
    for name in MODELS:
        tokenizer = load_tokenizer(folder(name))
        stream = encode(tokenizer, texts)
        loss = mean_loss(load_model(folder(name)), stream, 256, windows=32)
        assert math.exp(loss) < 25, name
