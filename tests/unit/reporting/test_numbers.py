import pytest

from switchyard.reporting.numbers import counted, listed, number


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (18.3, "perplexity", "18.30"), (41.0, "perplexity", "41.00"), (123456.7, "perplexity", "123,457"),
        (9999.7, "perplexity", "10,000"), (0.4123, "share", "41.2%"), (-0.00001, "nats_change", "0.0000"),
        (0.0312, "nats_change", "+0.0312"), (-0.04, "percent", "0.0 %"), (-12.34, "percent", "-12.3 %"),
        (None, "experts", "–"), (float("nan"), "experts", "–"), (float("inf"), "perplexity", "–"),
        (1.295, "experts", "1.29"), (8, "experts", "8.00"), (1234.5, "perplexity", "1234"),
        (0.0004, "p", "<0.001"), (0.0007, "p", "0.001"), (0.3, "level", "0.3"), (0.037123, "level", "0.03712"),
    ],
)  # fmt: skip
def test_number(value, kind, text):
    assert number(value, kind) == text


def test_words():
    assert [counted(count, "dataset") for count in (0, 1, 2)] == ["no datasets", "1 dataset", "2 datasets"]
    assert [listed(items) for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
