"""The calculator predicts in the browser what the performance model predicts in Python."""

from __future__ import annotations

import dataclasses
import json
import math
import random

import pytest

from switchyard.profiling.scenario import Scenario
from switchyard.reporting.calculator import write_calculator
from unit.profiling.test_model import fitted

SIZES = {"num_experts": (4, 64), "top_k": (1, 4), "hidden_size": (32, 4096), "intermediate_size": (16, 14336)}
SIZES |= {"vocab_size": (100, 50000), "experts": (1, 4), "hit_rate": (0, 1), "looked_up_experts": (0, 4)}
SIZES |= {"gflops": (1, 1e6), "gbytes": (1, 4000)}


def scenarios(number: int) -> list[dict]:
    draw, found = random.Random(0), []
    for _ in range(number):
        one = {"rule": draw.choice(["bh", "var"]), "phase": draw.choice(["prefill", "decode"])}
        one |= {"batch": draw.randint(1, 300), "length": draw.randint(1, 5000)}
        one["cache_length"] = draw.randint(0, 5000)
        for name, (low, high) in SIZES.items():
            if draw.random() < 0.4:
                value = draw.uniform(low, high)
                one[name] = (
                    value if name in ("experts", "hit_rate", "looked_up_experts") else max(1, round(value))
                )
        found.append(one)
    return found


def test_the_page_holds_the_model_and_no_way_out_of_a_script(tmp_path):
    model = dataclasses.replace(fitted(), rules={"</script><b>": fitted().rules["bh"]})
    write_calculator(tmp_path / "page.html", model, title="a < b", stamp={"code": "1"})
    page = (tmp_path / "page.html").read_text()
    assert "<title>a &lt; b</title>" in page and '"code":"1"' in page
    assert "</script><b>" not in page
    held = page.split('id="model">')[1].split("</script>")[0]
    assert json.loads(held) == json.loads(json.dumps(model.as_json()))


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_the_calculator_is_the_model_to_a_billionth(tmp_path, browser_page, noise):
    model = fitted(noise)
    write_calculator(tmp_path / "page.html", model, title="calculator")
    browser_page.goto((tmp_path / "page.html").as_uri())
    asked = scenarios(300)
    reported = browser_page.evaluate("asked => asked.map(predict)", asked)
    for one, found in zip(asked, reported, strict=True):
        own = {name: value for name, value in one.items() if name != "rule"}
        expected = model.predict_speedup(one["rule"], **own)
        for name in ("speedup", "low", "high"):
            assert math.isclose(found[name], getattr(expected, name), rel_tol=1e-9), (one, name)
        assert found["doubts"] == expected.doubts
        latency = model.predict_latency(Scenario(**own), one["rule"])
        assert math.isclose(found["rule_ms"], latency, rel_tol=1e-9)


@pytest.mark.slow
def test_the_page_answers_what_is_typed(tmp_path, browser_page):
    model = fitted()
    write_calculator(tmp_path / "page.html", model, title="calculator")
    browser_page.goto((tmp_path / "page.html").as_uri())
    assert "within what was measured" in browser_page.inner_text("#credible")
    browser_page.fill("input[name=batch]", "512")
    size = int(browser_page.input_value("input[name=cache_length]"))
    expected = model.predict_speedup("bh", batch=512, cache_length=size)
    assert browser_page.inner_text("#speedup").startswith(f"{expected.speedup:.3f} times")
    assert "batch 512 is outside the measured 1 to 8" in browser_page.inner_text("#doubts")
    browser_page.screenshot(path=str(tmp_path / "page.png"))
