"""Generation: batching changes nothing, the draws are those of the distribution, and a loop without a cache agrees."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from reference import generation as reference
from reference.tiny import tiny_model, tiny_tokenizer
from switchyard.errors import InputError
from switchyard.evaluation.generation import Settings, choose, generate
from switchyard.routing import TopK, attach
from switchyard.traces.writer import TraceWriter

SETTINGS = Settings(samples_per_problem=3, temperature=0.9, top_p=0.95, max_new_tokens=12, seed=5)
PROMPTS = ("the dog ends", "a cat and the tree of", "Pole", "house reads writes all other no")
PROBLEMS = [
    {"sample_id": place, "task_id": f"t/{place}", "prompt": prompt, "stop": ["zebra", " th"]}
    for place, prompt in enumerate(PROMPTS)
]


@pytest.fixture(scope="module")
def exact() -> Any:
    """Its logits are far enough apart that no rounding decides between two tokens."""
    return tiny_model(vocabulary=len(tiny_tokenizer()))


@pytest.fixture(scope="module")
def words() -> Any:
    return tiny_tokenizer()


def run(model: Any, tokenizer: Any, rule: Any, batch_tokens: int | None, **changed: Any) -> list[Any]:
    observer = changed.pop("observer", None)
    problems, settings = changed.pop("problems", PROBLEMS), SETTINGS._replace(**changed)
    with attach(model, rule, observer=observer, own_when_full=False) as attachment:
        return generate(
            model, tokenizer, attachment, problems, settings, max_length=64, batch_tokens=batch_tokens
        )


def rules() -> dict[str, Any]:
    from switchyard.routing.mixed_topk import MixedTopK
    from switchyard.routing.top_p import TopP

    return {"topk": TopK(2), "fewer": TopK(1), "top_p": TopP(4, p=0.3), "mixed": MixedTopK(1.5)}


@pytest.mark.parametrize("name", ["topk", "fewer", "top_p", "mixed"])
def test_batching_changes_nothing(name: str, exact: Any, words: Any) -> None:
    alone = run(exact, words, rules()[name], None)
    assert [(one.sample_id, one.number) for one in alone] == [(s, n) for s in range(4) for n in range(4)]
    for batch_tokens in (40, 130, 10_000):
        assert run(exact, words, rules()[name], batch_tokens) == alone
    others = run(exact, words, rules()[name], 10_000, problems=PROBLEMS[2:])
    assert others == [one for one in alone if one.sample_id >= 2]


def test_a_loop_without_batches_and_cache_writes_the_same(exact: Any, words: Any) -> None:
    found = run(exact, words, TopK(2), 10_000)
    for one in found:
        problem = PROBLEMS[one.sample_id]
        expected = reference.complete(exact, words, problem, one.number, SETTINGS)
        assert (one.text, one.tokens, one.ended) == expected
    assert {one.ended for one in found} >= {"length"}


def test_greedy_alone_is_what_generate_writes(exact: Any, words: Any) -> None:
    (found,) = run(exact, words, None, None, samples_per_problem=0, problems=[{**PROBLEMS[1], "stop": []}])
    ids = torch.tensor([words.encode(PROMPTS[1])])
    own = exact.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=1)[0, ids.shape[1] :]
    assert found.tokens == len(own)
    assert found.text == words.decode(own, skip_special_tokens=True)


def test_seeds_and_numbers_differ(exact: Any, words: Any) -> None:
    first, second = (run(exact, words, TopK(2), 500, seed=seed) for seed in (1, 2))
    assert [one.text for one in first if not one.number] == [one.text for one in second if not one.number]
    assert [one.text for one in first if one.number] != [one.text for one in second if one.number]
    assert len({one.text for one in first if one.sample_id == 0}) > 1


def test_stop_sequences_end_a_completion(exact: Any, words: Any) -> None:
    (free,) = run(exact, words, None, None, samples_per_problem=0, problems=[{**PROBLEMS[0], "stop": []}])
    stop = free.text[3:6]
    (cut,) = run(
        exact, words, None, None, samples_per_problem=0, problems=[{**PROBLEMS[0], "stop": ["~", stop]}]
    )
    assert cut.ended == "stop" and cut.text == free.text[: free.text.find(stop)]


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([2.0, 0.0, 1.0, -3.0]).log_softmax(-1)
    random = np.random.default_rng(0)
    row = SimpleNamespace(temperature=0.5, random=random)
    drawn = Counter(int(choose(logits[None], [row], 0.97)) for _ in range(4000))
    shares = (logits / 0.5).softmax(-1)
    kept = shares[[0, 2]] / shares[[0, 2]].sum()  # 0.867 and 0.117 of the probability are more than 0.97
    assert set(drawn) == {0, 2}
    assert drawn[0] / 4000 == pytest.approx(float(kept[0]), abs=0.02)


def test_small_shares_leave_the_most_probable() -> None:
    rows = [SimpleNamespace(temperature=t, random=np.random.default_rng(1)) for t in (1.0, 0.0)]
    assert choose(torch.tensor([[0.0, 3.0, 3.0], [0.0, 3.0, 3.0]]), rows, 1e-9).tolist() == [1, 1]


def test_the_trace_holds_every_token_that_was_fed_once(exact: Any, words: Any, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = tmp_path / "trace.parquet"
    with TraceWriter(path, num_experts=8, num_layers=2, group_rows=50) as trace:
        found = run(exact, words, TopK(2), 10_000, observer=trace.observe)
    rows = pq.read_table(path).to_pylist()
    fed = {
        (one.sample_id, one.number): len(words.encode(PROMPTS[one.sample_id])) + one.tokens - 1
        for one in found
    }
    counted = Counter((row["sample_id"], row["sequence"], row["layer"]) for row in rows)
    assert counted == {(*key, layer): number for key, number in fed.items() for layer in (0, 1)}
    assert {(row["sample_id"], row["position"], row["token_id"]) for row in rows if row["sequence"] == 1} >= {
        (2, place, token) for place, token in enumerate(words.encode(PROMPTS[2]))
    }
    assert pq.ParquetFile(path).metadata.num_row_groups < 12


def test_var_keeps_the_context_of_rows_that_go_on(exact: Any, words: Any) -> None:
    """A rule that is keyed by the tokens before sees the same ones, whoever has left the batch."""
    seen: dict[tuple[int, int, int], list[int]] = {}

    class Watching(TopK):
        context_window = 3
        needs_context = True

        def select(self, logits: Any, layer: int, context: Any = None) -> Any:
            names = zip(*(part.tolist() for part in (context.sample, context.sequence, context.position)))
            for name, before, real in zip(
                names, context.previous.tolist(), context.is_token.tolist(), strict=True
            ):
                if real:
                    assert seen.setdefault(name, before) == before
            return super().select(logits, layer, context)

    together = run(exact, words, Watching(2), 10_000)
    assert len({one.tokens for one in together}) > 1, "all ended at once, so that none left"
    assert run(exact, words, Watching(2), None) == together


def test_no_room_for_a_prompt_is_refused(exact: Any, words: Any) -> None:
    with pytest.raises(InputError, match="max_new_tokens 64 leaves no room for a prompt"):
        run(exact, words, None, None, max_new_tokens=64)


def test_a_long_prompt_loses_its_beginning(exact: Any, words: Any, caplog: pytest.LogCaptureFixture) -> None:
    run(exact, words, None, None, max_new_tokens=62, samples_per_problem=0)
    assert "t/1: the prompt has" in caplog.text


def test_var_without_anything_to_look_up_is_the_model(exact: Any, words: Any) -> None:
    from switchyard.var.config import VARConfig
    from switchyard.var.router import VARRouter

    assert run(exact, words, VARRouter(VARConfig(cache_size=0)), 300) == run(exact, words, TopK(2), 300)


def test_var_looks_up_what_other_rows_wrote_and_repeats(exact: Any, words: Any) -> None:
    from switchyard.var.config import VARConfig
    from switchyard.var.router import VARRouter

    rule = VARRouter(VARConfig(confidence_threshold=0.0, context_window_size=0))
    paths: Counter[int] = Counter()

    def count(layer: int, logits: Any, selection: Any, context: Any) -> None:
        paths.update(selection.path[context.is_token].tolist())

    first = run(exact, words, rule, 300, observer=count)
    assert paths[2] > 0, "nothing came from the cache"
    assert run(exact, words, rule, 300) == first
