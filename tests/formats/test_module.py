"""The module of a model writes the text of `charrnn sample`, in node and in a browser.

Tests `formats.model_page.module_options`, too.
"""

import json
import math
import re
import subprocess
from html import unescape

import pytest
from browser import dump, needs_browser
from page_in_node import NODE, needs_node, sample_in_node
from page_models import (
    CASES_OF_MODELS,
    MODELS,
    WORDED,
    WRITTEN,
    case,
    made,
    module_case,
    with_words,
)

from charrnn.errors import UsageError
from charrnn.formats.model_page.digests import DocumentDigests, digest_of, folds_of
from charrnn.formats.model_page.module_options import MODULE_OPTIONS, declaration
from charrnn.formats.model_page.page import to_module
from charrnn.generation.sample_options import SeveralOptions
from charrnn.reports.provenance import ReferenceText
from charrnn.text.copies import loose_key
from charrnn.text.documents import END
from charrnn.text.given_text import as_read
from charrnn.text.vocab import Vocab

UNCLAMPED = [one for one in WRITTEN.values() if not one["clamps"]]


def sampled(model, one):
    """The text of the sampler with its prime, as `charrnn sample` prints it."""
    options = {option: one[option] for option in ("prime", "temperature", "length")}
    return (
        as_read(one["prime"] or "", model.config)
        + model.sample(**options, seed=int(one["seed"])).text
    )


@needs_node
@pytest.mark.parametrize("name", CASES_OF_MODELS)
def test_a_module_generates_the_text_of_the_command_in_node(name, tmp_path):
    model = MODELS[name]()
    cases = [*UNCLAMPED, case(prime="")]
    found = sample_in_node(to_module(model), [*map(module_case, cases)], tmp_path)
    assert found == [sampled(model, one) for one in cases]


@needs_node
def test_an_empty_prime_of_a_module_is_a_line_end_and_none_is_the_opening(tmp_path, monkeypatch):
    """The opening may have a full stop and a blank line."""
    model = made()
    opening = model.vocab.encode("b\n\n")
    monkeypatch.setattr("charrnn.formats.model_page.network.opening_ids", lambda *_, **__: opening)
    cases = [case(prime=prime) for prime in (None, "", "\n", "b\n\n")]
    none, empty, newline, opened = sample_in_node(
        to_module(model), [*map(module_case, cases)], tmp_path
    )
    assert (f"\n{empty}", f"b\n\n{none}") == (newline, opened)
    assert empty == sampled(model, case(prime=""))


@needs_node
@pytest.mark.parametrize("name", ["lstm", "documents"])
def test_a_module_has_the_defaults_of_the_command(name, tmp_path):
    model = MODELS[name]()
    [found, other] = sample_in_node(to_module(model), [{"seed": 3}, {}], tmp_path)
    length = 10_000 if name == "documents" else 1000
    assert found == model.sample(seed=3, temperature=0.8, length=length).text
    assert other != found


REFUSED = {
    "temperature is -1; it must be a number, 0 (greedy) or more, and finite.": {"temperature": -1},
    "temperature is NaN; it must be": {"temperature": math.nan},
    "temperature is Infinity; it must be": {"temperature": math.inf},
    'temperature is "0.5"; it must be': {"temperature": "0.5"},
    "temperature is null; it must be": {"temperature": None},
    "length is -1; it must be a whole number, at least 0.": {"length": -1},
    "length is 1.5; it must be": {"length": 1.5},
    "seed is -1; it must be a whole number, at least 0.": {"seed": -1},
    'seed is "a"; it must be': {"seed": "a"},
    "count is 0; it must be a whole number, at least 1.": {"count": 0},
    "count is true; it must be": {"count": True},
    "prime is 5; it must be a string.": {"prime": 5},
    'stop is ""; it must be a string or a list of strings, of at least 1': {"stop": ""},
    "stop is a,; it must be": {"stop": ["a", ""]},
    "unique is 1; it must be true or false.": {"unique": 1},
    "sample has no option temp. Did you mean temperature? It has prime, temp": {"temp": 0.6},
    "sample has no option known_words. Did you mean knownWords?": {"known_words": True},
    "sample has no option new. Did you mean isNew?": {"new": True},
    "sample has no option tempreature. Did you mean temperature?": {"tempreature": 1},
    "sample has no option topK. It has prime, ": {"topK": 5},
    'sample takes an object with options, such as {seed: 1}, not "Moon".': "Moon",
    "sample takes an object with options, such as {seed: 1}, not null.": None,
    "unique is true, and there is no count: give one, or leave unique out.": {"unique": True},
    "count does not go with length 0, which writes no text.": {"count": 2, "length": 0},
    "knownWords is true, and the module has no list of words: export it with --known-words.": {
        "knownWords": True
    },
    "isNew is true, and the module has no digests of its documents: export it with --new.": {
        "isNew": True
    },
}
"""What a module says of options that cannot be used."""


@needs_node
def test_a_module_names_the_option_the_value_and_the_name_that_was_meant(tmp_path):
    found = sample_in_node(to_module(made()), [*REFUSED.values()], tmp_path)
    for message, error in zip(REFUSED, found, strict=True):
        assert error["name"] == "TypeError"
        assert error["message"].startswith(message)


@needs_node
def test_what_is_undefined_or_null_is_left_out(tmp_path):
    usual = {"seed": 3, "length": 20}
    cases = [usual, usual | {"prime": None, "count": None}]
    text, same = sample_in_node(to_module(made()), cases, tmp_path)
    assert text == same


VALUES = [-1, 0, 1, 2, 0.5, -0.5, 1e300, math.inf, math.nan, "", "a", True]


@needs_node
@pytest.mark.parametrize("name", ["temperature", "length", "seed", "count", "stop"])
def test_a_module_refuses_what_the_command_refuses(name, tmp_path):
    [option] = [one for one in MODULE_OPTIONS if one.name == name]
    given = [value for value in VALUES if isinstance(value, str) == (name == "stop")]
    if option.kind == "whole number":
        given = [value for value in given if isinstance(value, int)]
    given = [value for value in given if value is not True]
    usual = {"length": 3, "seed": 1}
    found = sample_in_node(to_module(made()), [usual | {name: one} for one in given], tmp_path)
    for value, answer in zip(given, found, strict=True):
        field = {option.field: [value] if name == "stop" else value}
        try:
            SeveralOptions(**({"count": 1} | field))
        except UsageError:
            assert isinstance(answer, dict), value
        else:
            assert not isinstance(answer, dict), answer


LISTED = ("a", "b", "ab", "A", "Stra\u00dfe", "\u0130x", "\u03a3\u03b1\u03c2", "ba b")
"""Documents whose case is not that of JavaScript: the sharp s, the capital i with a dot, and the
sigma that ends a word."""


@pytest.fixture
def lister(monkeypatch):
    """A model whose documents are short, and which has read those of `LISTED`."""
    letters = "".join(dict.fromkeys("".join(LISTED) + "STRAE stra\u03c3\u0307i"))
    model = made(Vocab("char", ("", "\0", *letters)), documents="lines", hidden_size=8)
    model.tensors["output.bias"][model.config.end_id] = 1.5
    text = "".join(document + END for document in LISTED)
    monkeypatch.setattr(
        "charrnn.reports.learned_texts.read_reference_text", lambda _: ReferenceText([[text]])
    )
    return model


CHOSEN = {
    "several": {"count": 5, "seed": 1},
    "all different": {"count": 8, "seed": 2, "unique": True},
    "new": {"count": 6, "seed": 3, "isNew": True},
    "new and different": {"count": 12, "seed": 4, "unique": True, "isNew": True},
    "one that is new": {"seed": 5, "isNew": True},
    "begun": {"count": 4, "seed": 6, "prime": "a", "unique": True, "isNew": True},
    "up to a letter": {"count": 6, "seed": 7, "stop": "b"},
    "up to one of several texts": {"count": 6, "seed": 8, "stop": ["ab", "S", "ra"]},
    "hot": {"count": 10, "seed": 9, "temperature": 3, "unique": True, "isNew": True},
}


def chosen_by_the_command(model, given):
    """The texts that the command writes for the options of a module."""
    stops = given.get("stop", ())
    texts = model.samples(
        given.get("count", 1),
        seed=given["seed"],
        temperature=given.get("temperature", 0.8),
        length=given["length"],
        prime=given.get("prime"),
        stops=(stops,) if isinstance(stops, str) else stops,
        unique=given.get("unique", False),
        accept=model.new_documents() if given.get("isNew") else None,
        known_words=given.get("knownWords", False),
    )
    found = [(given.get("prime") or "") + text.text for text in texts]
    return found if "count" in given else found[0]


@needs_node
def test_a_module_chooses_the_texts_that_the_command_chooses(lister, tmp_path):
    model = lister
    module = to_module(model, DocumentDigests.of(model))
    cases = [{"length": 12} | given for given in CHOSEN.values()]
    found = sample_in_node(module, cases, tmp_path)
    assert found == [chosen_by_the_command(model, given) for given in cases]
    assert not {*map(loose_key, found[2])} & {*map(loose_key, LISTED)}


@pytest.mark.slow
@needs_node
def test_a_module_gives_up_after_as_many_texts_as_the_command(lister, tmp_path):
    model = lister
    given = {"count": 40, "seed": 1, "temperature": 0.05, "unique": True, "length": 3}
    [error] = sample_in_node(to_module(model), [given], tmp_path)
    with pytest.raises(UsageError) as raised:
        chosen_by_the_command(model, given)
    assert error == {"name": "Error", "message": str(raised.value).replace("`", "")}


@needs_node
def test_a_module_that_writes_nothing_new_does_not_say_to_ask_for_fewer(
    lister, monkeypatch, tmp_path
):
    """Every text of one character has been read."""
    model = lister
    text = "".join(f"{character}{END}" for character in model.vocab.characters[2:])
    monkeypatch.setattr(
        "charrnn.reports.learned_texts.read_reference_text", lambda _: ReferenceText([[text]])
    )
    given = {"seed": 1, "length": 1, "isNew": True}
    [error] = sample_in_node(to_module(model, DocumentDigests.of(model)), [given], tmp_path)
    with pytest.raises(UsageError, match=r"the first 1,000 texts were left out\. Change") as raised:
        chosen_by_the_command(model, given)
    assert error == {"name": "Error", "message": str(raised.value).replace("`", "")}


KEYS = {
    "sharp s": "Stra\u00dfe STRASSE",
    "capital sharp s": "\u1e9e",
    "i with a dot": "\u0130stanbul",
    "i without one": "\u0131",
    "final sigma": "\u03a3\u039f\u03a3 \u03c3\u03bf\u03c2",
    "iota below": "\u1fb3 \u1f88",
    "Cherokee": "\u13a0\uab70",
    "ligature": "\ufb01 \u017f",
    "accents of their own": "e\u0301E\u0301",
    "blanks": "\u00a0\x85 a\u3000b\x1c\t",
    "byte order": "\ufeffa",
    "no character": "\udc80a",
}
"""Texts whose key differs from what JavaScript makes of them."""


@needs_node
def test_a_text_has_the_key_that_the_command_gives_it(tmp_path):
    characters = "".join(dict.fromkeys("".join(KEYS.values())))
    program = "\n".join(
        line for line in to_module(made(Vocab("char", ("", *characters)))).splitlines()
    )
    keyed = f"process.stdout.write(JSON.stringify({json.dumps([*KEYS.values()])}.map(looseKey)));"
    (tmp_path / "program.mjs").write_text(f"{program}\n{keyed}", "utf-8")
    ran = subprocess.run([NODE, tmp_path / "program.mjs"], capture_output=True, check=True)
    assert json.loads(ran.stdout) == [loose_key(text) for text in KEYS.values()]


@pytest.mark.slow
def test_the_folds_of_bytes_are_those_of_all_characters():
    folds = folds_of(Vocab.of_bytes())
    for code in range(0x110000):
        character = chr(code)
        assert folds.get(character, character.lower()) == character.casefold()
    assert 100 < len(folds) < 400


@pytest.mark.slow
@needs_node
def test_a_stop_does_not_cut_a_known_word(tmp_path):
    model = WORDED["letters"]()
    cases = [{"seed": seed, "length": 200, "knownWords": True, "stop": "g"} for seed in range(6)]
    cases += [one | {"prime": "a fi", "stop": [" ", "pod"]} for one in cases]
    found = sample_in_node(to_module(model), cases, tmp_path)
    assert found == [chosen_by_the_command(model, given) for given in cases]


def test_the_digests_tell_new_documents_and_are_salted_by_the_model(lister):
    model = lister
    digests = DocumentDigests.of(model)
    found = {digests.digests[i : i + 8] for i in range(0, len(digests.digests), 8)}
    assert len(found) == digests.count == len({*map(loose_key, LISTED)})
    assert digest_of(loose_key("STRASSE"), digests.salt) in found
    assert digest_of(loose_key("other"), digests.salt) not in found
    assert digest_of(loose_key("STRASSE"), b"") not in found


@needs_node
def test_single_words_that_are_known_are_not_new(lister, tmp_path):
    model = with_words(lister, text=" ".join(LISTED))
    [error] = sample_in_node(
        to_module(model, DocumentDigests.of(model)), [{"isNew": True, "knownWords": True}], tmp_path
    )
    assert error["message"].startswith("knownWords does not go with isNew")


def version_of(node):
    """The version of a node as numbers."""
    printed = subprocess.run([node, "--version"], capture_output=True, check=True, text=True)
    return tuple(map(int, printed.stdout.strip().lstrip("v").split(".")))


def is_from(version, *firsts):
    """Whether a version is one from some first ones on: of the same main version, or a later main
    version than all of them."""
    in_row = [first for first in firsts if first[0] == version[0]]
    return any(version >= first for first in in_row) or version[0] > max(firsts)[0]


def loads_in(version):
    """Which ways of loading a module a version of node has, as the table of the page says."""
    requires = is_from(version, (20, 19), (22, 12))
    finds_modules = is_from(version, (20, 19), (22, 7))
    return {
        ("import", "model.mjs"): True,
        ("require", "model.mjs"): requires,
        ("import", "model.js"): finds_modules,
        ("require", "model.js"): requires,
        ("import", "package/model.js"): True,
        ("require", "package/model.js"): requires,
    }


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with a module of each name that node knows."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "package").mkdir()
    (folder / "package" / "package.json").write_text('{"type": "module"}')
    for name in ("model.mjs", "model.js", "package/model.js"):
        made().export(folder / name)
    return folder


@needs_node
@pytest.mark.parametrize("way", loads_in((0, 0)))
def test_this_node_loads_a_module_as_the_page_says(way, exported):
    call, name = way
    loaded = {
        "import": f'import {{ sample }} from "./{name}";',
        "require": f'const {{ sample }} = require("./{name}");',
    }
    program = exported / {"import": "program.mjs", "require": "program.cjs"}[call]
    program.write_text(f"{loaded[call]} process.stdout.write(sample({{ seed: 3 }}));")
    # Some versions load more than the page says.
    if loads_in(version_of(NODE))[way]:
        ran = subprocess.run([NODE, program], capture_output=True, check=True)
        assert ran.stdout.decode() == made().sample(seed=3).text


def test_nothing_in_a_module_is_awaited():
    assert "await" not in to_module(with_words(made()))


@pytest.mark.parametrize(("suffix", "declared"), [(".js", ".d.ts"), (".mjs", ".d.mts")])
def test_a_declaration_stands_beside_a_module(tmp_path, suffix, declared):
    path = made().export(tmp_path / f"names{suffix}")
    beside = path.with_suffix(declared)
    assert beside.read_text("utf-8") == declaration()
    # One that an export wrote is replaced, and no other one.
    path.unlink()
    made().export(path)
    beside.write_text("export const mine: number;")
    path.unlink()
    with pytest.raises(UsageError, match=f"names{declared} exists"):
        made().export(path)
    assert not path.exists()
    made().export(path, force=True)
    assert beside.read_text("utf-8") == declaration()


def test_the_declaration_has_every_option():
    declared = re.findall(r"(?m)^  (\w+)\?: ", declaration())
    assert declared == [option.name for option in MODULE_OPTIONS]


@needs_browser
def test_a_module_generates_the_text_of_the_command_in_a_browser(tmp_path):
    model = MODELS["documents"]()
    one = WRITTEN["prime"] | {"seed": "3"}
    given = module_case(one) | {"seed": 3}
    # The clock of the browser does not wait for the weights: messages take none of its time.
    page = f"""<body><script>
async function wait() {{
  while (!document.body.dataset.answer) {{
    await new Promise(resolve => {{
      const channel = new MessageChannel();
      channel.port1.onmessage = resolve;
      channel.port2.postMessage(null);
    }});
  }}
}}
addEventListener("DOMContentLoaded", wait);
</script><script type="module">{to_module(model)}
document.body.dataset.answer = JSON.stringify(sample({json.dumps(given)}));</script>"""
    (tmp_path / "page.html").write_text(page, "utf-8")
    elements = dump((tmp_path / "page.html").as_uri(), tmp_path)
    answer = re.search(r'data-answer="([^"]*)"', elements)
    assert json.loads(unescape(answer[1])) == sampled(model, one)


@pytest.mark.slow
def test_a_module_of_a_list_has_at_most_235_kilobytes(tmp_path):
    vocab = Vocab("char", ("", "\0", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST "))
    model = made(vocab, hidden_size=128, embedding_size=64, documents="lines")
    path = model.export(tmp_path / "names.js")
    assert 190_000 < path.stat().st_size < 235_000
