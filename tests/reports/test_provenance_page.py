"""The page of a text has all of it, with its passages underlined and linked."""

import re
from html import unescape
from pathlib import Path

import pytest
from built_runs import build_chain_and_quoting
from known_weights import chain_text

SPEECH = "“She must have been there during the night, I am sure of it.”"
LETTER = "There was nothing in it but a key & a <small> lamp of brass."
TEXTS = {
    "a.txt": f"One.\n{SPEECH}\nTwo.\n{LETTER}\n",
    "b.txt": f"Three.\n{SPEECH}\nFour\n{LETTER}",
    "c.txt": f"Five.\n{SPEECH}\n",
}


@pytest.fixture
def page(command):
    """Write the texts into a folder, and return the page of `predict --within` for some of them."""
    Path("book").mkdir()
    for name, text in TEXTS.items():
        Path("book", name).write_text(text, encoding="utf-8")

    def call(*sources):
        texts = [part for source in sources for part in ("--text", source)]
        ran = command("predict --within --export page.html --force", *texts)
        assert (ran.code, ran.out) == (0, "page.html\n"), ran.err
        return Path("page.html").read_text(encoding="utf-8")

    return call


def text_of(page):
    """Return the text of a page without the names of its files."""
    article = page.partition("<article>")[2].partition("</article>")[0]
    return unescape(re.sub("<[^>]*>", "", re.sub("<h2>.*?</h2>", "", article)))


@pytest.mark.parametrize("sources", [["book"], ["book/a.txt", "book/b.txt", "book/c.txt"]])
def test_it_has_the_whole_text_of_all_files_below_their_names(page, sources):
    shown = page(*sources)
    assert text_of(shown) == "\n".join(text.removesuffix("\n") for text in TEXTS.values()) + "\n"
    assert [Path(name).name for name in re.findall("<h2>(.*?)</h2>", shown)] == [*TEXTS]


def test_each_place_links_to_the_next_one(page):
    shown = page("book")
    links = re.findall('<a id="(t[0-9]+)" href="#(t[0-9]+)">([^<]*)', shown)
    speech = [(name, target) for name, target, words in links if "during the night" in words]
    (first, second), (again, third), (last, back) = speech
    assert (second, third, back) == (again, last, first)
    assert re.findall('href="#(t[0-9]+)"', shown.partition("</aside>")[0]) != []
    assert set(re.findall('href="#(.+?)"', shown)) <= set(re.findall('id="(.+?)"', shown))


def test_a_file_without_repetitions_is_shown_without_a_list(page):
    shown = page("book/c.txt")
    assert text_of(shown) == TEXTS["c.txt"]
    assert "<aside>" not in shown and "No 30 characters in a row" in shown


def test_what_the_training_text_has_links_to_the_entry_that_names_its_place(command, tmp_path):
    build_chain_and_quoting(tmp_path)
    text = f"Something new.\n{chain_text(12_000)[500:590]} and more\n"
    Path("mine.txt").write_text(text, encoding="utf-8")
    assert command("predict chain --trace --text mine.txt --export page.html").code == 0
    shown = Path("page.html").read_text(encoding="utf-8")
    assert text_of(shown) == text
    assert re.search('<a id="t15" href="#p15">', shown)
    assert '<li id="p15">' in shown and "there: chain.txt, line" in shown


@pytest.mark.parametrize("again", ["book/a.txt", "book", "book/../book/a.txt"])
def test_a_file_that_is_there_twice_is_refused(command, page, again):
    page("book")
    ran = command("predict --within --text book/a.txt --text", again)
    ran.assert_refused(2, "a.txt is given twice")


def test_a_page_is_written_again_without_force_only_for_what_charrnn_wrote(command, page):
    page("book")
    assert command("predict --within --text book --export page.html").code == 0


def test_a_second_text_without_its_option_is_told_to_have_one(command, tmp_path):
    Path("first.txt").write_text("lamp and moon\n" * 20, encoding="utf-8")
    Path("chapters").mkdir()
    ran = command("predict --within --text first.txt chapters")
    assert (ran.code, ran.out) == (2, "")
    assert "chapters is no run. If it is another text, type --text before it, too" in ran.err
