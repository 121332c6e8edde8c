"""The programs with a module on the page about games run."""

import json
import re
import subprocess
from html import unescape

import pytest
from browser import dump, needs_browser
from elements import text_of
from environment import REPOSITORY
from page_in_node import NODE, needs_node
from page_models import made

from charrnn.formats.model_page.digests import DocumentDigests
from charrnn.formats.model_page.page import to_module
from charrnn.text.vocab import Vocab

PAGE = (REPOSITORY / "docs" / "use" / "game.md").read_text("utf-8")
CHAT_LINES = 12
GAME_LINES = 30
pytestmark = pytest.mark.docs


def block(language, beginning):
    """The block of the page in a language that has a text in it."""
    blocks = re.findall(rf"(?s)```{language}\n(.*?)```", PAGE)
    [found] = [one for one in blocks if beginning in one]
    return found


@pytest.fixture
def towns(monkeypatch):
    """A module of a model of towns, with digests of the list."""
    model = made(Vocab("char", ("", "\0", *"ABCabcdefgh -")), documents="lines", hidden_size=8)
    model.tensors["output.bias"][model.config.end_id] = 0
    monkeypatch.setattr("charrnn.formats.model_page.digests.known_keys", lambda _: {"a", "b", "ca"})
    monkeypatch.setattr("charrnn.formats.model_page.digests.learned_single_words", lambda _: True)
    return to_module(model, DocumentDigests.of(model))


PLAYED = """
const shown = name => document.getElementById(name).textContent;
const found = {begun: shown("message"), hidden: shown("town"), messages: []};
for (const letter of "zabcdefgh") {
  document.getElementById("letter").value = letter;
  document.getElementById("letter").dispatchEvent(new Event("input"));
  found.messages.push(shown("message"));
}
found.town = shown("town");
document.getElementById("another").click();
found.again = shown("message");
document.body.dataset.answer = JSON.stringify(found);
</script>"""


@needs_browser
def test_the_game_is_played(towns, tmp_path):
    game = block("html", "towns.js")
    assert len([line for line in game.splitlines() if line]) <= GAME_LINES
    (tmp_path / "towns.js").write_text(towns, "utf-8")
    (tmp_path / "game.html").write_text(game.replace("</script>", PLAYED), "utf-8")
    # A browser loads a module by file: only if it is told to.
    address = (tmp_path / "game.html").as_uri()
    elements = dump(address, tmp_path, "--allow-file-access-from-files")
    found = json.loads(unescape(re.search(r'data-answer="([^"]*)"', elements)[1]))
    assert found["begun"] == found["again"] == "Type a letter of this town."
    assert "_" in found["hidden"] and "_" not in found["town"]
    assert found["messages"][0] == "5 mistakes left"
    assert "Welcome!" in found["messages"] or "Nobody has ever been to" in found["messages"][-1]
    town = found["town"][::2].lower()
    assert town not in {"", "a", "b", "ca"}


@needs_browser
def test_a_browser_loads_no_module_from_a_file(towns, tmp_path):
    (tmp_path / "towns.js").write_text(towns, "utf-8")
    (tmp_path / "game.html").write_text(block("html", "towns.js"), "utf-8")
    elements = dump((tmp_path / "game.html").as_uri(), tmp_path)
    assert text_of(elements, "town") == ""


@needs_browser
def test_a_game_in_one_file_needs_no_server(towns, tmp_path):
    (tmp_path / "towns.js").write_text(towns, "utf-8")
    # Most editors indent a script.
    game = block("html", "towns.js").replace("import ", "\t  import ")
    (tmp_path / "game.html").write_text(game, "utf-8")
    [command] = [line for line in block("sh", "sed ").splitlines() if line.startswith("sed ")]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, timeout=60)
    elements = dump((tmp_path / "one-file.html").as_uri(), tmp_path)
    assert "_" in text_of(elements, "town")


@needs_node
def test_a_word_is_kept_out_by_drawing_again(towns, tmp_path):
    (tmp_path / "towns.mjs").write_text(towns, "utf-8")
    loop = block("js", "goblin")
    names = []
    # Each letter that a name of this model may have, in the place of the words.
    for letter in "abc":
        program = f'import {{ sample }} from "./towns.mjs";\n{loop.replace("mud|goblin", letter)}'
        (tmp_path / "loop.mjs").write_text(f"{program}process.stdout.write(name);", "utf-8")
        ran = subprocess.run(
            [NODE, tmp_path / "loop.mjs"],
            capture_output=True,
            check=True,
            encoding="utf-8",
            timeout=300,
        )
        names.append(ran.stdout)
        assert ran.stdout and letter not in ran.stdout.lower()
    assert len({*names}) > 1


@needs_node
def test_the_chat_answers_each_line_with_a_line(tmp_path):
    chat = block("js", "readline")
    assert len(chat.splitlines()) <= CHAT_LINES
    letters = "JonasMr: whtuye?"
    model = made(Vocab("char", ("", "\n", *dict.fromkeys(letters))))
    (tmp_path / "us.mjs").write_text(to_module(model), "utf-8")
    (tmp_path / "chat.mjs").write_text(chat, "utf-8")
    said = "where are you?\nso what\n\u00e9\n"
    ran = subprocess.run(
        [NODE, tmp_path / "chat.mjs"],
        input=said,
        capture_output=True,
        check=True,
        encoding="utf-8",
        timeout=300,
    )
    answers = ran.stdout.removesuffix("\n").split("\n")
    assert len(answers) == 3
    assert all(answer.startswith("Mara:") for answer in answers)
