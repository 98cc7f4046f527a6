import base64
import json
import re
import zlib

import numpy as np
import pyarrow.parquet as pq
import pytest

from reference.synthetic import random_forward, write_scores, write_trace
from reference.tiny import tiny_tokenizer
from switchyard.artifacts.files import write_table
from switchyard.errors import InputError
from switchyard.reporting.inspector import collect, inspected, page, token_texts, write_inspector

BATCHES = [{(2, 0): 5, (0, 1): 9}, {(0, 0): 4, (3, 0): 6, (1, 0): 2, (1, 1): 3}]
EXPERTS, LAYERS = 24, 3


class Tested:
    """A rule with p-values that tell logits and layers apart."""

    @staticmethod
    def p_values(logits, layer):
        return 1 / (1 + np.exp(logits + layer))


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture
def experiment(tmp_path):
    """A function: an experiment's trace and scores, two forwards with samples out of order."""

    def write(name="16experts_bh_a030", *, keep_logits=True, tested=True, low=0, high=20, seed=5, **head):
        rng = np.random.default_rng(seed)
        shape = {"experts": EXPERTS, "layers": LAYERS, "low": low, "high": high, "tested": tested}
        forwards = [random_forward(batch, rng, **shape) for batch in BATCHES]
        stamp = {"config": name, "dataset": "endings", "min_k": low, "k_or_max_k": high, **head}
        trace, scores = tmp_path / f"{name}.parquet", tmp_path / f"{name}_scores.parquet"
        write_trace(trace, forwards, keep_logits=keep_logits, stamp=stamp)
        write_table(scores, write_scores(None, "choice", {0: 13, 1: 5, 2: 5, 3: 6}, rng))
        return trace, scores

    return write


def block(text, name):
    """The content of the script element of that name."""
    return re.search(rf'<script type="[^"]+" id="{name}">(.*?)</script>', text, re.DOTALL)[1]


def shown(text):
    """The routing that a page holds."""
    return json.loads(zlib.decompress(base64.b64decode(block(text, "routing"))))


def rounded(values):
    return [float(f"{value:.3g}") for value in values]


def rows_of(trace, sample, sequence, layer):
    """The trace's own rows of one layer, by position, read in the plainest way."""
    rows = pq.read_table(trace).to_pylist()
    key = (sample, sequence, layer)
    found = [row for row in rows if (row["sample_id"], row["sequence"], row["layer"]) == key]
    return sorted(found, key=lambda row: row["position"])


def test_the_page_holds_what_the_trace_holds(experiment, tokenizer):
    trace, scores = experiment()
    one = inspected(trace, scores, 2, tokenizer, label="BH", rule=Tested(), max_tokens=99)
    data = shown(page([one], title="t"))
    samples = data["routing"]["endings"]["16experts_bh_a030"]["samples"]
    assert [sample["sample_id"] for sample in samples] == [0, 1]
    many = 0
    for sample in (0, 1):
        for sequence in (0, 1):
            text = data["texts"]["endings"][sample][sequence]
            for layer in range(LAYERS):
                rows = rows_of(trace, sample, sequence, layer)
                got = samples[sample]["sequences"][sequence][layer]
                p = [Tested.p_values(np.array(row["router_logits"], float), layer) for row in rows]
                listed = [row["experts"][:16] for row in rows]
                others = [sorted(set(range(EXPERTS)) - set(row["experts"])) for row in rows]
                many += sum(row["count"] > 16 for row in rows)
                assert text["token_ids"] == [row["token_id"] for row in rows]
                assert got["count"] == [row["count"] for row in rows]
                assert got["rejections"] == [row["rejections"] for row in rows]
                assert got["experts"] == sum(listed, [])
                assert got["weights"] == rounded(weight for row in rows for weight in row["weights"][:16])
                assert got["p_values"] == rounded(
                    own[expert] for own, chosen in zip(p, listed) for expert in chosen
                )
                assert got["next_p"] == rounded(own[rest].min() for own, rest in zip(p, others))
    assert many, "no token has more experts than are listed; the test would not see the cut"


def test_scores_and_limits_stand_beside_the_routing(experiment, tokenizer):
    trace, scores = experiment(low=1, high=6)
    one = inspected(trace, scores, 4, tokenizer, label="BH", rule=Tested(), max_tokens=99)
    row = next(row for row in pq.read_table(scores).to_pylist() if row["sample_id"] == 3)
    for name in ("loss", "loss_tokens", "target", "predicted_norm", "log_likelihood", "correct"):
        assert one["samples"][3][name] == row[name]
    assert one["limits"] == [1, 6] and one["absent_p"] is None


def test_a_static_rule_has_one_limit_and_no_p_values(experiment, tokenizer):
    trace, scores = experiment(tested=False, low=4, high=4)
    one = inspected(trace, scores, 1, tokenizer, label="top-4", rule=object(), max_tokens=99)
    layer = one["samples"][0]["sequences"][0]["layers"][0]
    assert one["limits"] == [4, 4] and one["absent_p"] == "rule"
    assert layer["rejections"] is None and layer["p_values"] is None and layer["next_p"] is None


def test_no_expert_left_out_leaves_no_next_p_value(experiment, tokenizer):
    trace, _ = experiment(low=EXPERTS, high=EXPERTS)
    found = collect(trace, [2], tokenizer, p_values=Tested.p_values, max_tokens=99)
    assert found[0]["layers"][0]["next_p"] == [None] * 5


def test_the_order_is_that_asked_for(experiment, tokenizer):
    found = collect(experiment()[0], [3, 0, 1], tokenizer, p_values=None, max_tokens=9)
    assert [(one["sample"], one["sequence"]) for one in found] == [(3, 0), (0, 0), (0, 1), (1, 0), (1, 1)]


def test_without_logits_there_are_no_p_values(experiment, tokenizer):
    trace, scores = experiment(keep_logits=False)
    one = inspected(trace, scores, 1, tokenizer, label="BH", rule=Tested(), max_tokens=99)
    assert one["absent_p"] == "logits"
    assert one["samples"][0]["sequences"][0]["layers"][0]["p_values"] is None


def test_of_a_long_text_the_end_is_given(experiment, tokenizer):
    trace, _ = experiment()
    settings = {"p_values": Tested.p_values}
    whole = collect(trace, [0], tokenizer, **settings, max_tokens=9)
    cut = collect(trace, [0], tokenizer, **settings, max_tokens=5)
    assert [(one["length"], one["first"]) for one in whole] == [(4, 0), (9, 0)]
    assert [(one["length"], one["first"]) for one in cut] == [(4, 0), (9, 4)]
    assert cut[0] == whole[0]
    assert cut[1]["token_ids"] == whole[1]["token_ids"][4:]
    for short, long in zip(cut[1]["layers"], whole[1]["layers"]):
        left_out = sum(min(count, 16) for count in long["count"][:4])
        assert short["count"] == long["count"][4:]
        for name in ("experts", "weights", "p_values"):
            assert short[name] == long[name][left_out:]


def test_a_sample_that_is_not_there_is_refused(experiment, tokenizer):
    with pytest.raises(InputError, match="has no sample 7"):
        collect(experiment()[0], [0, 7], tokenizer, p_values=None, max_tokens=9)


def test_only_forwards_with_a_chosen_sample_are_read_whole(experiment, tokenizer, monkeypatch):
    trace, _ = experiment()
    read, whole = [], pq.ParquetFile.read_row_group

    def watched(self, group, columns=None):
        read.append((group, columns))
        return whole(self, group, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", watched)
    collect(trace, [1], tokenizer, p_values=None, max_tokens=9)
    assert [group for group, columns in read if columns is None] == [1]


def test_configurations_share_one_text(experiment, tokenizer):
    first = inspected(*experiment(), 1, tokenizer, label="BH", rule=Tested(), max_tokens=9)
    other = {**first, "config": "top", "label": "top-4"}
    data = shown(page([first, other], title="t"))
    assert data["labels"] == {"16experts_bh_a030": "BH", "top": "top-4"}
    assert len(data["texts"]["endings"]) == 1
    strange = inspected(*experiment("strange", seed=6), 1, tokenizer, label="?", rule=Tested(), max_tokens=9)
    with pytest.raises(InputError, match="strange was given other tokens of endings"):
        page([first, strange], title="t")


def test_no_text_gets_out_of_its_place(experiment, tokenizer):
    one = inspected(*experiment(), 1, tokenizer, label="<i>", rule=Tested(), max_tokens=9)
    text = page([one], title="A & <B> {{ style }}", stamp={"x": "</script><!--"})
    assert "<title>A &amp; &lt;B&gt; {{ style }}</title>" in text
    assert json.loads(block(text, "switchyard")) == {"x": "</script><!--"}
    plain = page([], title="t")
    assert text.count("<") == plain.count("<") and text.count("</script>") == plain.count("</script>")


def test_the_page_is_self_contained_and_the_same_every_time(experiment, tokenizer, tmp_path):
    trace, scores = experiment()

    def experiments(tokens):
        return [inspected(trace, scores, 2, tokenizer, label="BH", rule=Tested(), max_tokens=tokens)]

    for name in "ab":
        write_inspector(tmp_path / name, experiments, max_tokens=9, title="t", stamp={"b": 1, "a": 2})
    text = (tmp_path / "a").read_text(encoding="utf-8")
    assert text == (tmp_path / "b").read_text(encoding="utf-8")
    assert not re.search(r"""\b(src|href)\s*=|@import|url\(|https?:(?!//www.w3.org/2000/svg")""", text)


def test_a_page_too_large_for_the_report_has_fewer_tokens(tmp_path):
    asked = []

    def experiments(tokens):
        asked.append(tokens)
        return []

    bare = len(page([], title="t").encode())
    write_inspector(tmp_path / "page", experiments, max_tokens=16, most_bytes=bare, title="t")
    assert asked == [16]
    with pytest.raises(InputError, match=f"{bare} bytes with 8 tokens .* inspect fewer samples"):
        write_inspector(tmp_path / "page", experiments, max_tokens=16, most_bytes=bare - 1, title="t")
    assert asked == [16, 16, 12, 9, 8]


HOSTILE = ["</script>", "<b>bold</b>", "<img·src=x·onerror=alert(1)>", "·↵"]


@pytest.mark.slow
def test_what_a_reader_sees(experiment, tokenizer, tmp_path, browser_page):
    static, tested = experiment("top", tested=False, low=4, high=4), experiment("bh", low=18, high=20)
    settings = {"rule": Tested(), "max_tokens": 4}
    seen = [
        inspected(*static, 2, tokenizer, label="<i>top-4</i>", **{**settings, "rule": None}),
        inspected(*tested, 2, tokenizer, label="BH", **settings),
        inspected(*experiment("bare", low=2, keep_logits=False), 2, tokenizer, label="bare", **settings),
    ]
    for one in seen:
        one["samples"][0]["sequences"][0]["tokens"] = HOSTILE
    place = tmp_path / "page.html"
    write_inspector(place, lambda _: seen, max_tokens=4, title="t")
    layer = seen[1]["samples"][0]["sequences"][0]["layers"][0]
    assert layer["count"][0] > 16 and layer["count"][1] > 16

    def look(view, expression):
        browser_page.goto("about:blank")
        browser_page.goto(f"{place.as_uri()}#{view}")
        browser_page.locator(".token").first.wait_for()
        return browser_page.evaluate(expression)

    words = "[...document.querySelectorAll('section:first-of-type .token')].map(one => one.textContent)"
    assert look("a=bh", words) == HOSTILE
    assert look("a=bh", "document.querySelectorAll('b, img, i').length") == 0
    assert "4 tokens are shown" in look("a=bh", "document.querySelector('#notes').textContent")
    pinned = "a=bh&token=0.1&pinned=true"
    rows = "[...document.querySelector('.experts').tBodies[0].rows].map(row => row.innerText.split(/\\s+/))"
    listed = look(pinned, rows)
    assert [int(row[0]) for row in listed] == layer["experts"][16:32]
    assert [float(row[1]) for row in listed] == pytest.approx(layer["weights"][16:32], abs=6e-4)
    assert [float(row[2]) for row in listed] == pytest.approx(layer["p_values"][16:32], rel=0.06)
    head = look(pinned, "document.querySelector('.layers').innerText")
    count, rejections = layer["count"][1], layer["rejections"][1]
    assert f"{count} experts" in head and f"+{count - 16} more" in head and f"{rejections} rejected" in head
    notes = look("a=bare&b=top", "document.querySelector('#notes').textContent")
    assert "No p-values for bare: its trace holds no router logits" in notes
    assert "No p-values for <i>top-4</i>: the rule has none" in notes


def test_tokens_are_seen_and_do_no_harm(tokenizer):
    text = " dog\n\n\tcat é\u202e\u00a0\x07€"
    texts = token_texts(tokenizer, tokenizer.encode(text))
    joined = "".join(texts)
    assert texts[0] == "·dog"
    assert "↵" in joined and "⇥" in joined and "cat" in joined
    assert bytes.fromhex("".join(re.findall(r"⟨([0-9A-F ]+)⟩", joined)).replace(" ", "")).endswith(
        "€".encode()
    )
    assert not re.search(r"[\n\t\x00-\x1f\u202e\u00a0\ufffd]", joined)


class Pieces:
    """Stands in for a SentencePiece tokenizer, which drops a leading space when it decodes one piece."""

    pieces = ["▁dog", "s", "<0x0A>", "<0xE2>", "\u202eabc", "<s>"]
    texts = ["dog", "s", "\n", "\ufffd", "\u202eabc", "<s>"]

    def convert_ids_to_tokens(self, ids):
        return [self.pieces[token] for token in ids]

    def decode(self, ids, **_):
        return self.texts[ids[0]]


def test_other_tokenizers_show_their_spaces_and_bytes():
    assert token_texts(Pieces(), range(6)) == ["·dog", "s", "↵", "⟨E2⟩", "⟨U+202E⟩abc", "<s>"]
