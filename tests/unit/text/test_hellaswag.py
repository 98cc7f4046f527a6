"""HellaSwag's context and endings."""

from __future__ import annotations

from switchyard.text import hellaswag


def test_context_joins_activity_and_both_parts() -> None:
    text = hellaswag.context("Pole vault", "A sport with a pole.", "a few women")
    assert text == "Pole vault: A sport with a pole. A few women"


def test_context_without_a_second_part_ends_with_the_first() -> None:
    assert hellaswag.context("Cooking", "Take an egg.", "") == "Cooking: Take an egg."


def test_wikihow_artefacts_become_sentences_or_go() -> None:
    assert hellaswag.clean("How to [title] Wash it. [step] Use water.") == "How to. Wash it. Use water."
    assert hellaswag.clean("  plain  ") == "plain"
    assert hellaswag.clean("[header] Start") == " Start"
