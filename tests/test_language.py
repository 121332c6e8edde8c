"""Check the language of the documentation: short sentences and lines, links that work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from environment import REPOSITORY

MAX_LINE = 120
"""Characters of a line of the documentation."""
MAX_WORDS = 40
"""Words of a sentence."""
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")])
NAMES = [str(page.relative_to(REPOSITORY)) for page in PAGES]


def prose(markdown: str) -> Iterator[str]:
    """Yield paragraphs, list items and table cells of a page, without headings and code; inline code is one word."""
    block: list[str] = []
    is_code = False
    for line in [*markdown.split("\n"), ""]:
        if line.lstrip().startswith("```"):
            is_code = not is_code
        is_item = re.match(r"\s*([-*]|\d+\.) ", line) is not None
        if is_code or is_item or not line.strip() or line.startswith(("#", "|", "!", "```")):
            yield re.sub(r"`[^`]*`", "CODE", " ".join(block))
            block = []
        if is_code or not line.strip() or line.startswith(("#", "```")):
            continue
        if line.startswith("|"):
            yield from (re.sub(r"`[^`]*`", "CODE", cell) for cell in line.split("|"))
        else:
            block.append(line.strip())


def sentences(markdown: str) -> Iterator[str]:
    """Yield the sentences of a page. A colon ends one where the next word has a capital."""
    for block in prose(markdown):
        yield from re.split(r"(?<=[.!?:])[*)]*\s+(?=[A-Z*\[“])", block)


def anchors(markdown: str) -> set[str]:
    """Return the fragments that link to the headings of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", markdown, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_no_line_of_the_documentation_is_long(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").split("\n")
    assert {number: len(line) for number, line in enumerate(lines, 1) if len(line) > MAX_LINE} == {}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_no_sentence_of_the_documentation_is_long(page: Path) -> None:
    found = sentences(page.read_text(encoding="utf-8"))
    assert [sentence for sentence in found if len(re.findall(r"[\w'’-]+", sentence)) > MAX_WORDS] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8"))
    for path, fragment in links:
        target = page.parent / path if path else page
        assert target.exists(), path
        if fragment:
            assert fragment in anchors(target.read_text(encoding="utf-8")), f"{path}#{fragment}"


def test_sentences_are_found() -> None:
    page = "# Title\n\nOne `a. B` two. Three:\n\n- four\n  five\n\n| six | Seven. Eight |\n\n```\nNo. No\n```\n"
    found = [sentence.strip() for sentence in sentences(page) if sentence.strip()]
    assert found == ["One CODE two.", "Three:", "- four five", "six", "Seven.", "Eight"]
