"""The page of a model writes the text of `charrnn sample` and restores compressed files, in node
and in a browser."""

import base64
import hashlib
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from browser import dump, needs_browser
from elements import Elements
from fixture_types import Command
from numpy.typing import NDArray

import charrnn
from charrnn.api import Model
from charrnn.cells.findings import FoundCell
from charrnn.config.settings import Config
from charrnn.errors import CharRNNError, UsageError
from charrnn.formats.crnn import container
from charrnn.formats.model_page import page as model_page
from charrnn.formats.model_page.page import to_model_page
from charrnn.generation.distribution import next_char_probs
from charrnn.generation.sample_options import Shaping
from charrnn.model.shapes import weight_shapes
from charrnn.text.vocab import Vocab

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node on this machine")
TEMPERATURES = (0.0, 0.5, 1.0, 1.5)
LENGTH = 60
LETTERS = "\n !abcdefghijklmnop\u00e9\u2026"
HOSTILE = "</script><script>alert(1)</script>{{VIEW}}\x1b[31m\u202eab<!--&amp;"


def made(
    vocab: Vocab | None = None, *, seed: int = 0, name: str = "made", **settings: Any
) -> Model:
    """A model whose weights come from a formula, large enough that its characters are neither
    certain nor random."""
    vocab = vocab or Vocab("char", ("", *LETTERS))
    sizes: dict[str, Any] = {
        "num_layers": 1,
        "hidden_size": 20,
        "embedding_size": 5,
        "cell": "lstm",
    }
    config = Config(alphabet=vocab.kind, **(sizes | settings))
    generator = np.random.default_rng(seed)
    tensors: dict[str, NDArray[Any]] = {
        name: (
            (generator.random(shape) * 2 - 1).astype(np.float32)
            * (3 if name.startswith("output") else 1)
        )
        for name, shape in weight_shapes(config, len(vocab)).items()
    }
    if config.end_id is not None:
        tensors["output.bias"][config.end_id] = -5  # long documents
    return Model(config, vocab, tensors, name=name, step=12, val_nats=1.25)


def page_of(model: Model, found: Sequence[FoundCell] = ()) -> str:
    return to_model_page(model, found)


DOCUMENTS = Vocab("char", ("", "\0", *LETTERS, "\udc80"))
MODELS: dict[str, Callable[[], Model]] = {
    "lstm": lambda: made(cell="lstm"),
    "gru": lambda: made(cell="gru", hidden_size=19),
    "rnn": lambda: made(cell="rnn", num_layers=3, depth="residual", sum_outputs=True),
    "large embedding": lambda: made(cell="gru", embedding_size=40),
    "one-hot": lambda: made(cell="lstm", embedding_size="one-hot"),
    "zoneout": lambda: made(cell="lstm", num_layers=2, zoneout=0.15, initial_state="learned"),
    "ngrams": lambda: made(cell="lstm", num_layers=2, ngram_rows=53),
    "bytes": lambda: made(Vocab.of_bytes(), cell="lstm"),
    "documents": lambda: made(DOCUMENTS, cell="gru", documents="lines", initial_state="learned"),
    "without unknown": lambda: made(Vocab("char", tuple(LETTERS)), cell="lstm"),
}


def part(page: str, tag: str) -> str:
    return page.split(f"{tag}>", 1)[1].split("</script>")[0]


WRITE = """
    const network = new Network(model, arrays), alphabet = new Alphabet(model);
    function write({prime, clamps, temperature, seed, length}) {
      network.clamps.forEach(of => of.clear());
      for (const [layer, unit, step] of clamps) network.clamps[layer].set(unit, model.memories[step + 20]);
      const state = network.initialState(), logits = new Float32Array(network.vocabSize), read = alphabet.encode(prime);
      const ids = read.flatMap(one => one.ids);
      if (model.end_id !== null || !ids.length) ids.unshift(model.start_id);
      for (const id of ids) network.step(id, state, logits);
      const writer = new Writer(network, alphabet, {state, logits, temperature, seed, length});
      let text = "";
      while (!writer.isDone) text += writer.next();
      const weights = new Float64Array(logits.length), total = weigh(logits, 1, alphabet.isBanned, weights);
      return {text, values: [...network.values(state)], probs: [...weights].map(weight => weight / total)};
    }"""


def case(**changes: Any) -> dict[str, Any]:
    return {"prime": "", "clamps": [], "temperature": 1.0, "seed": "1", "length": LENGTH} | changes


CASES = [
    *(
        case(temperature=temperature, seed=str(seed))
        for seed, temperature in enumerate(TEMPERATURES)
    ),
    case(prime="bad\n caf\u00e9", seed="12345678901234567890123"),
    case(prime="a", clamps=[(0, 3, 20), (0, 4, -7), (0, 0, 0)], temperature=0.8),
    case(prime="ab", temperature=1e-300, length=20),
    case(length=0),
]


def expected(model: Model, one: dict[str, Any]) -> str:
    """What `charrnn sample` generates."""
    clamps = {(layer, unit): step / 20 for layer, unit, step in one["clamps"]}
    kept = {name: one[name] for name in ("prime", "temperature", "length")}
    return model.sample(**kept, seed=int(one["seed"]), clamps=clamps).text


RESTORE = """
    function restore(file) {
      const steps = decompress(network, model, "the data", Buffer.from(file, "base64"));
      let step;
      try { while (!(step = steps.next()).done); } catch (error) { return error.message; }
      return Buffer.concat(step.value).toString("base64");
    }"""


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def in_node(page: str, function: str, cases: Sequence[Any], folder: Path) -> list[Any]:
    """What the page's network generates in node: `function` is write or restore."""
    assert NODE is not None
    network, decompress, _ = re.findall(r"(?s)<script>(.*?)</script>", page)
    program = f"""{network} {decompress}
    const model = {part(page, 'id="model"')};
    unpackArrays(model, {json.dumps(part(page, 'id="weights"'))}).then(arrays => {{ {WRITE} {RESTORE}
      process.stdout.write(JSON.stringify({json.dumps(cases)}.map({function})));
    }});"""
    (folder / "program.js").write_text(program, encoding="utf-8")
    found = subprocess.run(
        [NODE, folder / "program.js"], capture_output=True, timeout=600, check=True
    )
    return list(json.loads(found.stdout))


@needs_node
@pytest.mark.parametrize("name", MODELS)
def test_node_generates_the_text_of_the_sampler(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    page = page_of(model)
    assert page == page_of(MODELS[name]()), "the same model gives the same page"
    found = in_node(page, "write", CASES, tmp_path)
    assert [one["text"] for one in found] == [expected(model, one) for one in CASES]
    assert len(set(found[2]["text"])) > 5, "the text is one that could differ"
    stepper = model.generator._make_stepper("int8")
    logits, state = stepper.read(model.generator.encode_prime(CASES[4]["prime"]))
    assert np.array_equal(np.array(found[4]["values"], np.float32), stepper.values(state).ravel())
    banned = (0,) if model.vocab.kind == "char" and model.vocab.has_unknown_symbol else ()
    probs = next_char_probs(logits, Shaping(), banned)[0]
    assert np.allclose(found[4]["probs"], probs, rtol=1e-12, atol=0)


@needs_node
@pytest.mark.parametrize("name", ["rnn", "zoneout", "bytes", "documents"])
def test_node_restores_what_was_compressed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "LEAST_ROW_BYTES", 100)
    model = MODELS[name]()
    model.tensors["output.bias"][128:] = -8  # a text of the byte alphabet that is UTF-8
    text = 4 * model.sample(length=300, seed=3).text + "snow \u2603 \U0001f642\r\n"
    data = (
        text.encode("utf-8", "surrogateescape")
        + b"\xff\xe2\x82\0"
        + np.random.default_rng(0).bytes(700)
    )
    packed = [model.compress(data, order=order) for order in (0, 1, 3)]
    assert data[-100:] in packed[0] and data[:20] not in packed[0], (
        "the rows of noise are stored, others coded"
    )
    assert len(set(packed)) == 3
    assert in_node(page_of(model), "restore", list(map(base64_of, packed)), tmp_path) == 3 * [
        base64_of(data)
    ]


@needs_node
def test_a_damaged_file_gets_the_sentence_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made()
    packed, header = model.compress(b"abc \xc3\xa9\xff" * 4), model.compress(b"")[:-1]

    def expected(data: bytes) -> str:
        try:
            return base64_of(model.decompress(data))
        except CharRNNError as error:
            return str(error).split("\n")[0].replace("this charrnn", "this page")

    tables = (b"\1\5\6", bytes([65, *[9] * 130]), b"\1\xff\xff\xff\1\0")
    files = [
        b"",
        b"a text",
        made(seed=1).compress(b"another model"),
        packed + b"\0",
        header + b"\xff" * 7,
    ]
    files += [packed[:7] + one + packed[8:] for one in (b"\1", b"\3")]
    files += [header + table + container._crc(table) for table in tables]
    files += [packed[:size] for size in range(0, len(packed), 7)]
    files += [
        packed[:at] + bytes([packed[at] ^ 1 << at % 8]) + packed[at + 1 :]
        for at in range(0, len(packed), 2)
    ]
    files.append(container.header_to_bytes(container.Header(bytes(32), b"", order=7)))
    monkeypatch.setattr(container, "SYMBOL_BITS", 31)
    files.append(container.header_to_bytes(container.Header(bytes(32), b"")))
    monkeypatch.undo()
    found = in_node(page_of(model), "restore", list(map(base64_of, files)), tmp_path)
    assert found == list(map(expected, files))
    assert all(problem.startswith("the data ") for problem in found) and len(set(found)) > 9


def run_script(folder: Path, page: str, script: str) -> Any:
    """Return what a script that is added to a page leaves in `document.body.dataset.answer`."""
    html = re.sub("<meta http-equiv[^>]*>", "", page).replace(
        "</body>", f"<script>{script}</script></body>"
    )
    (folder / "page.html").write_text(html, encoding="utf-8")
    answer = re.search(r'data-answer="([^"]*)"', dump((folder / "page.html").as_uri(), folder))
    assert answer is not None
    return json.loads(unescape(answer[1]))


def texts_of(elements: str, name: str) -> str:
    """The text of the element with an id, whose elements are spans."""
    found = re.search(rf'<(\w+)[^>]* id="{name}"[^>]*>(.*?)</\1>', elements, re.S)
    assert found is not None, elements[:2000]
    return unescape(re.sub(r"<[^>]*>", "", found[2]))


@needs_browser
def test_an_exported_page_generates_what_its_command_does(
    alphabet_run: Path, tmp_path: Path, command: Command
) -> None:
    assert command("export", alphabet_run, tmp_path / "page.html").code == 0
    address = f"{(tmp_path / 'page.html').as_uri()}#text=abc\u00e5&temp=1.5&seed=7&length=400&clamp=0:2%3D0.35&write=1"
    elements = dump(address, tmp_path)
    assert 'data-done="true"' in elements and 'id="problem" role="alert" hidden' in elements
    assert "Not in the alphabet, and left out: \u00e5" in texts_of(elements, "left-out")
    words = shlex.split(texts_of(elements, "command"))
    assert words[:3] == ["charrnn", "sample", alphabet_run.name]
    assert words[3:] == [
        "--temp",
        "1.5",
        "--seed",
        "7",
        "--length",
        "400",
        "--prime=abc",
        "--clamp",
        "0:2=0.35",
    ]
    ran = command("sample", alphabet_run, *words[3:])
    assert len(texts_of(elements, "written")) == 403
    assert ran.out.rstrip("\n") == texts_of(elements, "written").rstrip("\n")
    assert elements.count('role="option"') == charrnn.load(alphabet_run).config.hidden_size
    assert "400 characters" in texts_of(elements, "progress")


def test_the_page_asks_the_network_for_nothing_and_allows_its_own_programs_only() -> None:
    page = page_of(made())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None and policy[1].startswith("default-src 'none';")
    for tag, content in re.findall(r"(?s)<(style|script)>(.*?)</\1>", page):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src" in policy[1] and f"'sha256-{digest}'" in policy[1]
    assert "unsafe" not in policy[1] and "eval(" not in page and "Function(" not in page
    read = Elements(page)
    assert not {"link", "img", "iframe", "object", "a"} & set(read.tags)
    assert not {
        name
        for name, _ in read.attributes
        if name in ("src", "href", "action") or name.startswith("on")
    }
    programs = "".join(re.findall(r"(?s)<script>(.*?)</script>", page))
    assert not re.search(
        r"https?:|url\(|fetch\(|XMLHttp|innerHTML|Math\.(exp|log|tanh|pow|sin)\b", programs
    )


def test_no_name_and_no_character_becomes_markup() -> None:
    usual = Elements(page_of(made()))
    vocab = Vocab("char", ("", *dict.fromkeys(HOSTILE)))
    page = page_of(made(vocab, name=HOSTILE))
    assert Elements(page).tags == usual.tags, "not one element more"
    encoded = part(page, 'id="model"')
    assert encoded.isascii() and "<" not in encoded and not re.search(r"[\x00-\x1f\x7f]", encoded)
    model = json.loads(encoded)
    assert model["name"] == HOSTILE and model["characters"] == list(vocab.characters)


ACTIONS = """
(async () => {
  const wait = (time = 200) => new Promise(resolve => setTimeout(resolve, time)), found = {};
  const key = (element, name) => element.dispatchEvent(new KeyboardEvent("keydown", {key: name, bubbles: true}));
  const state = () => ({text: byId("text").value, read: byId("read").textContent, after: byId("after").textContent,
    bars: [...byId("next").children].map(item => item.firstChild.textContent), caption: byId("caption").textContent,
    value: byId("value").textContent, command: byId("command").textContent});
  await wait();
  found.found = [...byId("found").children].map(one => [one.textContent, one.getAttribute("aria-pressed")]);
  byId("found").children[1].click();
  found.opened = byId("caption").textContent;
  location.hash = "cell=0:0";
  await wait();
  found.beginning = state();
  byId("text").value = "ab";
  byId("text").dispatchEvent(new Event("input"));
  await wait();
  found.typed = state();
  byId("next").querySelector("button").click();
  await wait();
  found.clicked = state();
  key(byId("read"), "ArrowLeft");
  found.moved = state();
  cellButtons[3].click();
  key(cellButtons[3], "ArrowRight");
  found.chosen = state();
  byId("clamp").value = "-0.5";
  byId("is-clamped").click();
  await wait();
  found.clamped = state();
  byId("clamps").querySelector("button").click();
  await wait();
  found.released = state();
  byId("length").value = 20000;
  byId("write").click();
  await wait(20);
  key(document, "Escape");
  await wait();
  found.stopped = [document.body.dataset.done, written.pieces.length > 0, written.pieces.length < 20000];
  byId("length").value = 5;
  byId("another").click();
  await wait();
  found.again = [byId("seed").value, written.pieces.join(""), location.hash];
  const MemoryBlob = Blob, files = FILES;  // the clock does not wait for what is read from a real one
  let saved = null;
  window.Blob = function (rows, options) { saved = rows; return new MemoryBlob(rows, options); };
  File.prototype.arrayBuffer = async function () {
    return Uint8Array.from(atob(files[this.name]), one => one.charCodeAt(0)).buffer;
  };
  const transfer = name => {
    const all = new DataTransfer();
    all.items.add(new File(["not read"], name));
    return all;
  };
  const drop = dataTransfer => document.dispatchEvent(new DragEvent("drop", {dataTransfer}));
  const opened = () => [byId("opened").textContent, byId("opened").className, byId("cancel").hidden,
    byId("restored").hidden || byId("restored").textContent, Array.from(byId("saved").children, link => link.download)];
  byId("is-clamped").click();
  Object.defineProperty(document, "hidden", {value: true, configurable: true});
  drop(transfer("a.txt.crnn"));
  await wait();
  found.restored = [...opened(), btoa(String.fromCharCode(...saved.flatMap(row => [...row])))];
  delete document.hidden;
  drop(transfer("a.txt.crnn"));
  while (!byId("restoring").value) await pause();
  found.busy = byId("cancel").hidden;
  key(document, "Escape");
  await wait();
  found.cancelled = opened();
  byId("file").files = transfer("b.crnn").files;
  byId("file").dispatchEvent(new Event("change"));
  await wait();
  found.damaged = opened();
  document.body.dataset.answer = JSON.stringify(found);
})();"""


@needs_browser
def test_keys_clicks_and_files_in_a_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made(cell="gru", num_layers=2)
    cells = [("quote", 1, 3), ("comment", 0, 16)]
    found_cells = [
        FoundCell(detector=name, layer=layer, unit=unit, gain=0.9) for name, layer, unit in cells
    ]
    monkeypatch.setattr(container, "LEAST_ROW_BYTES", 100)
    text = 10 * model.sample(length=200, seed=3).text.encode()
    packed = model.compress(text)
    files = {"a.txt.crnn": base64_of(packed), "b.crnn": base64_of(packed[:10])}
    found = run_script(
        tmp_path, page_of(model, found_cells), ACTIONS.replace("FILES", json.dumps(files))
    )
    stepper = model.generator._make_stepper("int8")

    def guesses(text: str) -> list[str]:
        logits, _ = stepper.read(model.generator.encode_prime(text))
        best = np.argsort(-next_char_probs(logits, Shaping(), (0,))[0], kind="stable")[:10]
        return [
            {" ": "\u2423", "\n": "\u23ce"}.get(name, name) for name in map(model.character, best)
        ]

    assert found["found"] == [["1:3 quote", "true"], ["0:16 comment", "false"]]
    assert found["opened"] == "cell 0:16 (h)"
    assert found["beginning"]["bars"] == guesses("") and found["beginning"]["after"].startswith(
        "At the beginning"
    )
    assert found["typed"]["bars"] == guesses("ab") and found["typed"]["read"] == "ab"
    most_likely = model.character(int(np.argmax(stepper.read(model.vocab.encode("ab"))[0])))
    assert found["clicked"]["text"] == found["clicked"]["read"] == "ab" + most_likely
    assert found["moved"]["bars"] == guesses("ab") and "\u201cab\u201d" in found["moved"]["after"]
    assert "cell 0:4 (h)" in found["chosen"]["caption"]
    assert found["clamped"]["value"] == "\u22120.50" and found["clamped"]["command"].endswith(
        "--clamp 0:4=-0.5"
    )
    assert found["released"] == found["chosen"] and found["stopped"] == ["false", True, True]
    again = model.sample(prime="ab" + most_likely, length=5, seed=2, temperature=0.8).text
    assert found["again"][:2] == ["2", again] and "seed=2&length=5" in found["again"][2]
    first = container.cut_rows(text)[0].decode() + " \u2026"
    told = f"{len(text):,} bytes from {len(packed):,}."
    assert found["restored"] == [told, "", True, first, ["a.txt"], base64_of(text)]
    assert found["busy"] is False and found["cancelled"] == ["Cancelled.", "", True, True, []]
    assert found["damaged"] == [
        "b.crnn is damaged: it ends in its header.",
        "error",
        True,
        True,
        [],
    ]


EDITS = """
(async () => {
  const wait = (time = 200) => new Promise(resolve => setTimeout(resolve, time)), found = {};
  const command = () => byId("command").textContent;
  const set = (name, value) => {
    byId(name).value = value;
    byId(name).dispatchEvent(new Event("input", {bubbles: true}));
  };
  await wait();
  set("text", "ab");
  set("length", 20000);
  byId("clamp").value = "-0.5";
  await wait();
  byId("write").click();
  await wait(20);
  byId("is-clamped").click();
  await wait();
  Object.assign(found, {text: written.prime + written.pieces.join(""), stopped: command(), address: location.hash});
  set("text", "a");
  set("length", 7);
  await wait();
  found.edited = command();
  byId("write").click();
  await wait();
  found.next = command();
  byId("text").maxLength = 3;
  set("text", "aba");
  await wait();
  byId("next").querySelector("button:enabled").click();
  await wait();
  found.clicked = [byId("text").value, byId("read").textContent];
  location.hash = "text=ab\\u{1f642}";
  await wait();
  found.followed = [byId("text").value, byId("read").textContent];
  document.body.dataset.answer = JSON.stringify(found);
})();"""


@needs_browser
def test_the_command_is_that_of_the_text_shown(tmp_path: Path) -> None:
    model = MODELS["bytes"]()
    found = run_script(tmp_path, page_of(model), EDITS)
    stopped = re.fullmatch(
        r"charrnn sample made --temp 0\.8 --seed 1 --length (\d+) --prime=ab", found["stopped"]
    )
    assert stopped is not None, "clamping stops the text, which is generated without the clamp"
    assert 0 < int(stopped[1]) < 20000
    assert (
        found["text"]
        == "ab" + model.sample(prime="ab", length=int(stopped[1]), seed=1, temperature=0.8).text
    )
    address = {
        "text": ["ab"],
        "temp": ["0.8"],
        "seed": ["1"],
        "length": [stopped[1]],
        "cell": ["0:0"],
    }
    assert parse_qs(found["address"][1:]) == address, (
        "not the length that was asked for, nor the clamp"
    )
    assert found["edited"] == found["stopped"]
    assert found["next"].endswith("--seed 1 --length 7 --prime=a --clamp 0:0=-0.5")
    assert found["clicked"] == ["aba", "aba"], "no click exceeds the longest text"
    assert found["followed"] == ["ab", "ab"], "no half of a character"


@needs_browser
def test_a_browser_shows_hostile_names_and_characters_as_text(tmp_path: Path) -> None:
    vocab = Vocab("char", ("", *dict.fromkeys(HOSTILE)))
    (tmp_path / "page.html").write_text(
        page_of(made(vocab, name=HOSTILE, num_layers=2)), encoding="utf-8"
    )
    elements = dump(
        f"{(tmp_path / 'page.html').as_uri()}#text=<\u202e&cell=1:3&length=60&write=1&temp=1",
        tmp_path,
    )
    assert texts_of(elements, "name") == HOSTILE.replace("\x1b", "U+001B").replace(
        "\u202e", "U+202E"
    )
    assert "\u202e" not in texts_of(elements, "written") and "U+202E" in texts_of(elements, "read")
    assert "cell 1:3 (tanh(c))" in texts_of(elements, "caption") and elements.count("<script") == 5


def test_what_the_page_does_not_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverged = made()
    diverged.tensors["layers.0.weight_hh_l0"][0, 0] = np.nan
    monkeypatch.setattr(model_page, "MAX_BYTES", len(page_of(made())) - 1)
    for model, message in (
        (
            made(cell="peephole"),
            "cell of this model is peephole; a page runs lstm, gru, rnn. Export a .zip",
        ),
        (
            made(depth="grid", num_layers=2),
            "depth of this model is grid; a page runs stacked, residual",
        ),
        (diverged, "not finite: its training diverged"),
        (made(), "The page of made would have 0.1 MB, more than 0 MB"),
    ):
        with pytest.raises(UsageError, match=re.escape(message)):
            model.export(tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
