"""The page of a model writes the text of `charrnn sample`, in node and in a browser.

Tests `formats.model_page.page` and `formats.model_page.network`, too.
"""

import json
import re
import shlex
from html import escape, unescape
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs

import numpy as np
import pytest
from browser import dump, needs_browser
from built_runs import build_chain_and_quoting
from elements import Elements, text_of
from hand_built import mask_of
from page_in_node import needs_node, sample_in_node, write_in_node
from page_models import CASES_OF_MODELS, KNOWN, LENGTH, MODELS, WORDED, WRITTEN, made, module_case

from charrnn.cells.records import CellScore
from charrnn.errors import UsageError
from charrnn.formats.model_page import page as model_page
from charrnn.formats.model_page.page import to_model_page, to_module
from charrnn.generation.distribution import char_weights
from charrnn.generation.generator import TextGenerator
from charrnn.generation.sample_options import SampleOptions
from charrnn.text.vocab import Vocab
from charrnn.text.word_list import words_in

SCRIPTS = Path(__file__).parent / "javascript"
HOSTILE = "</script><script>alert(1)</script>{{VIEW}}\x1b[31m\u202eab<!--&amp;"


def described(page):
    """The description of the model in a page, as it is written there."""
    return page.split('id="model">', 1)[1].split("</script>")[0]


@needs_node
@pytest.mark.parametrize("name", CASES_OF_MODELS)
def test_node_generates_the_text_of_the_sampler(name, tmp_path):
    model = MODELS[name]()
    found = write_in_node(to_model_page(model), [*WRITTEN.values()], tmp_path)
    for one, written in zip(WRITTEN.values(), found, strict=True):
        options = {option: one[option] for option in ("prime", "temperature", "length")}
        clamps = {(layer, unit): step / 20 for layer, unit, step in one["clamps"]}
        expected = model.sample(**options, seed=int(one["seed"]), clamps=clamps)
        assert written["text"] == expected.text
    usual = found[list(WRITTEN).index("usual")]
    assert len(set(usual["text"])) > 5, "the text is one that could differ"


@needs_node
@pytest.mark.parametrize("name", WORDED)
def test_node_writes_known_words_as_the_sampler_does(name, tmp_path):
    model = WORDED[name]()
    found = write_in_node(to_model_page(model), [*KNOWN.values()], tmp_path)
    cases = map(module_case, KNOWN.values())
    sampled_texts = sample_in_node(to_module(model), [*cases], tmp_path)
    for one, written, text in zip(KNOWN.values(), found, sampled_texts, strict=True):
        options = {name: one[name] for name in ("prime", "temperature", "length")}
        expected = model.sample(**options, seed=int(one["seed"]), known_words="known_words" in one)
        assert written["text"] == expected.text
        assert text == (one["prime"] or "") + expected.text
    usual = found[list(KNOWN).index("usual")]["text"]
    assert {*words_in(usual)[:-1]} <= model.word_list.all_forms
    assert len({*words_in(usual)}) > 3 and usual != found[-1]["text"]


@needs_node
@pytest.mark.parametrize("name", CASES_OF_MODELS)
def test_node_computes_the_cells_and_the_next_characters(name, tmp_path):
    model = MODELS[name]()
    one = WRITTEN["prime"] | {"length": 0}
    (found,) = write_in_node(to_model_page(model), [one], tmp_path)
    stepper = model.generator._make_stepper("int8")
    logits, state = stepper.read(model.generator.encode_prime(one["prime"]))
    banned = mask_of([0] if model.vocab.has_unknown_symbol else [], len(logits[0]))
    probs = char_weights(logits[0], SampleOptions(temperature=1), banned=banned).probs
    assert np.array_equal(np.array(found["values"], np.float32), stepper.values(state).ravel())
    assert np.allclose(found["probs"], probs, rtol=1e-12, atol=0)


def offered_length(model):
    return json.loads(described(to_model_page(model)))["length"]


def test_a_page_offers_a_length_that_fits_its_texts():
    short = MODELS["documents"]()
    short.tensors["output.bias"][short.config.end_id] = 3
    lengths = [len(short.sample(seed=seed, temperature=1, length=1000).text) for seed in range(20)]
    assert 10 < max(lengths) < 500 and offered_length(short) == 2 * max(lengths)
    assert offered_length(MODELS["documents"]()) == 1000, "its texts are longer"
    assert offered_length(made()) == 1000, "it has no documents"


@pytest.mark.parametrize("longest, offered", [(1, 10), (499, 998), (500, 1000)])
def test_the_longest_of_twenty_texts_decides_the_length_a_page_offers(
    longest, offered, monkeypatch
):
    def drawn(self, options):
        text = "a" * longest if options.seed == 19 else "a"
        return SimpleNamespace(whole=lambda: SimpleNamespace(text=text))

    monkeypatch.setattr(TextGenerator, "begin", drawn)
    assert offered_length(MODELS["documents"]()) == offered


@needs_node
def test_a_page_begins_after_the_newlines_that_its_model_expects(tmp_path):
    model = made()
    newline = model.vocab.characters.index("\n")
    model.tensors["output.bias"][newline] += 3
    (found,) = write_in_node(to_model_page(model), [WRITTEN["without a prime"]], tmp_path)
    expected = model.sample(prime="\n\n\n", seed=4, length=LENGTH, temperature=1)
    assert found["text"] == expected.text


def test_the_same_model_gives_the_same_page():
    assert to_model_page(made()) == to_model_page(made())


def with_script(page, script):
    """A page with a script of `javascript`, which its policy allows."""
    nonce = re.search('<script nonce="([^"]*)"', page)[1]
    programs = [(SCRIPTS / f"{name}.js").read_text("utf-8") for name in ("in_page", script)]
    added = "".join(f'<script nonce="{nonce}">{program}</script>' for program in programs)
    return page.replace("</body>", f"{added}</body>")


def run_in_page(folder, page, script, *, address="#text="):
    """Run a script of `javascript` in a page, and return its answer. With an empty `address` the
    page opens with a text of its own."""
    (folder / "page.html").write_text(with_script(page, script), "utf-8")
    elements = dump((folder / "page.html").as_uri() + address, folder)
    answer = re.search(r'data-answer="([^"]*)"', elements)
    return json.loads(unescape(answer[1]))


@pytest.fixture
def exported(alphabet_run, tmp_path, command):
    """The elements of an exported page that has generated a text."""
    assert command("export", alphabet_run, tmp_path / "page.html").code == 0
    settings = "text=abc\u00e5&temp=1.5&seed=7&length=400&clamp=0:2%3D0.35&write=1"
    return dump(f"{(tmp_path / 'page.html').as_uri()}#{settings}", tmp_path)


@needs_browser
def test_an_exported_page_generates_what_its_command_does(alphabet_run, command, exported):
    words = shlex.split(text_of(exported, "command"))
    options = "--temp 1.5 --seed 7 --length 400 --prime=abc --clamp 0:2=0.35"
    assert words == ["charrnn", "sample", f"{alphabet_run.name}@1", *options.split()]
    written = text_of(exported, "written")
    assert len(written) == 403
    ran = command("sample", alphabet_run, *options.split())
    assert ran.out.rstrip("\n") == written.rstrip("\n")


def test_the_page_allows_its_own_programs_only():
    page = to_model_page(made())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy[1].startswith("default-src 'none';")
    assert "unsafe" not in policy[1]
    allowed = re.findall(r"'nonce-([^']*)'", policy[1])
    assert allowed == re.findall(r'<(?:style|script) nonce="([^"]*)"', page)[:1] * 2
    other = to_model_page(made(seed=1))
    assert f"'nonce-{allowed[0]}'" not in other, "what another page allows"


@needs_browser
def test_a_program_that_is_put_into_a_page_is_not_run(tmp_path):
    added = "<script>document.body.dataset.answer = 1;</script></body>"
    html = to_model_page(made()).replace("</body>", added)
    (tmp_path / "page.html").write_text(html, "utf-8")
    assert "data-answer" not in dump((tmp_path / "page.html").as_uri(), tmp_path)


def test_the_page_asks_the_network_for_nothing():
    page = to_model_page(made())
    read = Elements(page)
    names = {name for name, _ in read.attributes}
    assert not {"link", "img", "iframe", "object", "a"} & set(read.tags)
    assert not {"src", "href", "action"} & names
    assert not [name for name in names if name.startswith("on")]
    programs = "".join(re.findall(r"(?s)<script nonce=[^>]*>(.*?)</script>", page))
    assert not re.search(r"https?:|url\(|fetch\(|XMLHttp|innerHTML|eval\(|Function\(", programs)


def test_no_program_computes_by_functions_in_which_browsers_differ():
    assert not re.search(r"Math\.(exp|log|tanh|pow|sin)\b", to_model_page(made()))


def test_no_name_and_no_character_becomes_markup():
    vocab = Vocab("char", ("", *dict.fromkeys(HOSTILE)))
    page = to_model_page(made(vocab, name=HOSTILE))
    assert Elements(page).tags == Elements(to_model_page(made())).tags, "not one element more"
    encoded = described(page)
    assert re.fullmatch(r"[\x20-\x3b\x3d-\x7e]*", encoded), "ASCII without controls and <"
    model = json.loads(encoded)
    assert (model["name"], model["characters"]) == (HOSTILE, list(vocab.characters))


def test_the_programs_read_only_what_the_page_has_of_its_model():
    model = json.loads(described(to_model_page(made())))
    # What a module alone has stands in its text.
    written = {*model, *re.findall(r'"(\w+)":', to_module(made()))}
    for program in Path(model_page.__file__).parent.glob("*.js"):
        read = re.findall(r"\bmodel\.(\w+)", program.read_text("utf-8"))
        assert set(read) <= written, program.name


FOUND = [
    CellScore(detector="quote", layer=1, unit=3, polarity=1, num_positive=9),
    CellScore(detector="comment", layer=0, unit=16, polarity=-1, num_positive=9),
]


@pytest.fixture(scope="module")
def two_layers():
    return made(cell_type="gru", num_layers=2)


@pytest.fixture(scope="module")
def cells(two_layers, tmp_path_factory):
    """What a page shows while cells are chosen, the text is edited and a cell is clamped."""
    page = to_model_page(two_layers, FOUND)
    return run_in_page(tmp_path_factory.mktemp("cells"), page, "cells")


@needs_browser
def test_a_page_opens_with_a_text_that_is_being_written(two_layers, tmp_path):
    found = run_in_page(tmp_path, to_model_page(two_layers), "opening", address="")
    assert found["about"].startswith("A recurrent network of 40 GRU cells that has read")
    whole = two_layers.sample(length=1000, seed=1, temperature=0.8).text
    assert 0 < len(found["begun"]) < len(found["later"]) < len(whole)
    assert whole.startswith(found["later"])
    assert found["address"] == ""


@needs_browser
def test_the_command_is_that_of_the_text_shown(tmp_path):
    model = MODELS["bytes"]()
    found = run_in_page(tmp_path, to_model_page(model), "command")
    usual = "charrnn sample made --temp 0.8 --seed 1 --length"
    stopped = re.fullmatch(rf"{re.escape(usual)} (\d+) --prime=ab", found["stopped"])
    assert stopped is not None, "clamping stops the text, which is generated without the clamp"
    length = int(stopped[1])
    assert 0 < length < 20_000
    written = model.sample(prime="ab", length=length, seed=1, temperature=0.8)
    assert found["text"] == "ab" + written.text
    assert found["edited"] == found["stopped"]
    assert found["next"] == f"{usual} 7 --prime=a --clamp 0:0=-0.5"


@needs_browser
def test_the_address_is_that_of_the_text_shown(tmp_path):
    found = run_in_page(tmp_path, to_model_page(MODELS["bytes"]()), "command")
    length = re.search(r"--length (\d+)", found["stopped"])
    # Not the length that was asked for, nor the clamp.
    expected = {"text": "ab", "temp": "0.8", "seed": "1", "length": length[1], "cell": "0:0"}
    assert parse_qs(found["address"][1:]) == {name: [value] for name, value in expected.items()}


@needs_browser
def test_a_page_with_words_writes_only_these_until_it_is_told_otherwise(tmp_path):
    model = WORDED["letters"]()
    found = run_in_page(tmp_path, to_model_page(model), "words")
    assert found["isOffered"]
    usual = "charrnn sample made --temp 0.8 --seed 1 --length 300"
    for name, is_known in (("known", True), ("any", False)):
        options = {"prime": "bad ca", "length": 300, "seed": 1}
        expected = model.sample(**options, known_words=is_known).text
        flag = " --known-words" if is_known else ""
        assert found[name]["text"] == "bad ca" + expected
        assert found[name]["command"] == f"{usual}{flag} '--prime=bad ca'".replace(
            "'--prime=bad", "--prime='bad"
        )
        assert parse_qs(found[name]["address"][1:])["words"] == [name]


@needs_browser
def test_a_page_without_words_offers_none(tmp_path):
    found = run_in_page(tmp_path, to_model_page(made()), "words")
    assert not found["isOffered"]
    assert "--known-words" not in found["known"]["command"]
    assert "words" not in parse_qs(found["known"]["address"][1:])


def minified(page):
    """A page as programs that save bytes rewrite it: without blanks between elements, indentation,
    comments and needless quotes."""
    smaller = re.sub(r">\s+<", "><", page)
    smaller = re.sub(r"(?m)^\s*//.*$|^[ \t]+", "", smaller)
    smaller = re.sub(r"(?s)/\*.*?\*/", "", smaller)
    assert len(smaller) < len(page)
    return smaller.replace('charset="UTF-8"', "charset=utf-8").replace(
        'type="button"', "type=button"
    )


def framed(attributes):
    """A page around `inner.html`, or around its content, which leaves what that sends it."""
    return f"""<!DOCTYPE html><meta charset="UTF-8"><body><script>
addEventListener("message", event => document.body.dataset.answer = JSON.stringify(event.data));
(async () => {{
  while (!document.body.dataset.answer) await new Promise(done => setTimeout(done, 50));
}})();
</script><iframe {attributes}></iframe></body>"""


def put(place, folder, page):
    """Put a page into a place; return its address."""
    inner = with_script(page, "framed")
    if place == "minified":
        inner = with_script(minified(page), "framed")
    (folder / "inner.html").write_text(inner, "utf-8")
    content = f'srcdoc="{escape(inner)}"'
    attributes = {
        "frame": 'src="inner.html"',
        "sandbox": 'sandbox="allow-scripts" src="inner.html"',
        "srcdoc": content,
        "sandboxed srcdoc": f'sandbox="allow-scripts" {content}',
    }
    if place in attributes:
        (folder / "outer.html").write_text(framed(attributes[place]), "utf-8")
        return (folder / "outer.html").as_uri()
    return (folder / "inner.html").as_uri()


@needs_browser
@pytest.mark.parametrize(
    "place", ["file", "minified", "frame", "sandbox", "srcdoc", "sandboxed srcdoc"]
)
def test_a_page_writes_its_text_wherever_it_is_put(place, tmp_path):
    model = MODELS["gru"]()
    # The clock of a headless browser waits for one process alone.
    in_one = "--disable-features=IsolateSandboxedIframes"
    elements = dump(put(place, tmp_path, to_model_page(model)), tmp_path, in_one)
    answer = json.loads(unescape(re.search(r'data-answer="([^"]*)"', elements)[1]))
    expected = "ab" + model.sample(prime="ab", length=40, seed=1, temperature=0.8).text
    assert answer == {"text": expected, "problem": ""}


CANNOT_START = {
    "scripts of another type": ("<script nonce", '<script type="x-text/javascript" nonce'),
    "another policy": ("script-src 'nonce-", "script-src 'nonce-0"),
}


@needs_browser
@pytest.mark.parametrize("name", CANNOT_START)
def test_a_page_that_cannot_start_says_so(name, tmp_path):
    page = to_model_page(made()).replace(*CANNOT_START[name])
    (tmp_path / "page.html").write_text(page, "utf-8")
    elements = dump((tmp_path / "page.html").as_uri(), tmp_path)
    assert text_of(elements, "unstarted").startswith("This page has not started.")


@needs_browser
def test_a_page_without_scripts_asks_for_them(tmp_path):
    content = escape(to_model_page(made()))
    outer = f"""<!DOCTYPE html><meta charset="UTF-8"><body>
<iframe sandbox="allow-same-origin" srcdoc="{content}"></iframe><script>
setTimeout(() => {{
  const shown = document.querySelector("iframe").contentDocument.body.innerText;
  document.body.dataset.answer = JSON.stringify(shown);
}}, 8000);
</script></body>"""
    (tmp_path / "outer.html").write_text(outer, "utf-8")
    elements = dump((tmp_path / "outer.html").as_uri(), tmp_path)
    shown = json.loads(unescape(re.search(r'data-answer="([^"]*)"', elements)[1]))
    assert "This page has not started." in shown and "Allow scripts for it" in shown


@needs_browser
def test_a_page_that_fails_says_so(tmp_path):
    # A digit of the weights is another one.
    page = re.sub('(id="weights">.{500}).', r"\1!", to_model_page(made()))
    (tmp_path / "page.html").write_text(page, "utf-8")
    elements = dump((tmp_path / "page.html").as_uri(), tmp_path)
    shown = text_of(elements, "problem")
    assert shown.startswith("The model cannot be run: the file is damaged: export it again")


QUOTING = Vocab("char", ("", "\n", *" '\"-.", *"abcdefghist"))


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """What a reader of the text alone sees, and what somebody who types on a telephone does."""
    page = to_model_page(made(QUOTING))
    return run_in_page(tmp_path_factory.mktemp("reader"), page, "reader", address="#alone")


@needs_browser
def test_an_address_shows_the_text_alone(reader):
    opened = reader["opened"]
    assert (opened["isAlone"], opened["isTextShown"], opened["isCellsShown"]) == (True, True, False)
    whole = made(QUOTING).sample(length=1000, seed=1, temperature=0.8).text
    assert len(opened["text"]) > 0 and whole.startswith(opened["text"])
    assert opened["address"] == "#alone"


@needs_browser
def test_a_reader_of_the_text_alone_has_another_one_and_the_laboratory(reader):
    another, laboratory = reader["another"], reader["laboratory"]
    assert another["isAlone"] and another["text"] != reader["opened"]["text"]
    assert parse_qs(another["address"][1:], keep_blank_values=True)["alone"] == [""]
    assert not laboratory["isAlone"] and laboratory["isCellsShown"]
    assert parse_qs(laboratory["address"][1:])["alone"] == ["no"]
    assert (another["label"], laboratory["label"]) == ("The laboratory", "The text alone")


@needs_browser
def test_a_text_stops_at_the_end_of_a_line(reader):
    line = reader["line"]
    options = {"prime": "ab", "length": 1000, "seed": 3, "temperature": 0.8}
    expected = made(QUOTING).sample(**options, stops=("\n",))
    assert expected.stop and line["text"] == "ab" + expected.text
    command = "charrnn sample made --temp 0.8 --seed 3 --length 1000 --stop '\\n' --prime=ab"
    assert line["command"] == command
    assert parse_qs(line["address"][1:])["stop"] == ["line"]


@needs_browser
def test_what_a_telephone_types_is_read_as_the_characters_of_the_model(reader):
    assert reader["read"] == '"ab" - it\'s... '
    assert reader["leftOut"] == "Not in the alphabet, and left out: \u00e9"


@needs_browser
def test_a_click_on_a_character_counts_in_a_translated_page(reader):
    assert reader["after"].startswith("After \u201ca\u201d")


def test_no_keyboard_and_no_translator_changes_a_text():
    page = to_model_page(made(), language="de")
    fields = {"text": "textarea", "written": "pre", "read": "pre", "next": "ol"}
    for field, tag in fields.items():
        element = re.search(f'<{tag} [^>]*id="{field}"[^>]*>', page)[0]
        assert 'translate="no"' in element
    textarea = re.search("<textarea[^>]*>", page)[0]
    for name in ("autocapitalize", "autocorrect", "autocomplete"):
        assert f'{name}="off"' in textarea
    assert json.loads(described(page))["language"] == "de"


@needs_browser
def test_a_browser_shows_hostile_names_and_characters_as_text(tmp_path):
    model = made(Vocab("char", ("", *dict.fromkeys(HOSTILE))), name=HOSTILE, num_layers=2)
    (tmp_path / "page.html").write_text(to_model_page(model), encoding="utf-8")
    settings = "text=<\u202e&cell=1:3&length=60&write=1&temp=1"
    elements = dump(f"{(tmp_path / 'page.html').as_uri()}#{settings}", tmp_path)
    shown = HOSTILE.replace("\x1b", "U+001B").replace("\u202e", "U+202E")
    assert text_of(elements, "name") == shown
    assert "\u202e" not in text_of(elements, "written")
    assert "U+202E" in text_of(elements, "read")
    assert "cell 1:3 (tanh(c))" in text_of(elements, "caption")
    assert elements.count("<script") == 5


REFUSED = {
    "cell type of this model is peephole; a page runs lstm, gru, rnn. Export a .zip": {
        "cell_type": "peephole"
    },
    "depth of this model is grid; a page runs stacked, residual": {
        "depth": "grid",
        "num_layers": 2,
    },
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_the_page_does_not_run_is_refused(tmp_path, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        made(**REFUSED[message]).export(tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_a_page_of_a_run_whose_text_has_changed_says_which_cell_colours_it(command, tmp_path):
    build_chain_and_quoting(tmp_path)
    text = Path("quotes.txt").read_bytes()
    Path("quotes.txt").write_bytes(text + b"abc\n")
    unknown = command("export quoting unknown.html")
    assert "has changed since it was trained" in unknown.err
    assert "is coloured by cell 0:0, which may follow nothing" in unknown.err

    # Its cells are found while the text is here, and are known from then on.
    Path("quotes.txt").write_bytes(text)
    assert "coloured" not in command("export quoting found.html").err
    Path("quotes.txt").write_bytes(text + b"abc\n")
    kept = command("export quoting kept.html")
    assert "is coloured by cell 0:5, which followed quote when cells were found last" in kept.err
    colours = [
        re.search('"found":\\[.*?\\]', Path(f"{name}.html").read_text("utf-8"))[0]
        for name in ("found", "kept")
    ]
    assert colours[0] == colours[1]
