"""The command, the page and the module write the same texts, for options that a seed draws.

Every option that two of them have is drawn. Tests `formats.model_page`, too.
"""

import json
import random
from dataclasses import replace

import pytest
from page_in_node import needs_node, sample_in_node, write_in_node
from page_models import LENGTH, MODELS, WORDED
from saved_runs import SMALLEST

from charrnn.formats.model_page.digests import DocumentDigests
from charrnn.formats.model_page.page import to_model_page, to_module
from charrnn.reports.provenance import ReferenceText
from charrnn.text.documents import END

NUM_CALLS = 40
MADE = {
    "letters": WORDED["letters"],
    "documents": WORDED["documents"],
    "bytes": MODELS["bytes"],
    "rnn": MODELS["rnn"],
}
"""The models: of letters and of documents with their words, of bytes, and one of three layers."""
TRAINED = {"device": "cpu", "precision": "fp32", "steps": 1, "evaluate_every": 1, "save_every": 1}
"""Settings of a run of one step."""
DOCUMENTS = ("bad cage", "a", "FIG", "a b", "c\u00e9")
"""What the model of documents has read."""


def drawn_calls():
    """The model and the options of each call, by their names in `SampleOptions`."""
    source = random.Random(115)
    calls = []
    for _ in range(NUM_CALLS):
        name = source.choice([*MADE])
        is_listed = name == "documents"
        prime = source.choice([None, "", "bad c", "a", "cafe\u0301"])
        call = {
            "prime": prime,
            "temperature": source.choice([0, 0.3, 0.8, 1.5]),
            "seed": source.choice([0, 7, source.randrange(2**31), source.randrange(2**40)]),
            "length": source.choice([0, 1, source.randrange(LENGTH)]),
            "stops": source.choice([[], [], ["\n"], ["a", "bc"], [" "]]),
            "known_words": name in WORDED and source.random() < 0.4,
            # A page has no list of texts, a module no clamps.
            "clamps": source.choice([[], [(0, source.randrange(19), source.randrange(-20, 21))]]),
            "count": source.choice([None, None, 1, 4]),
            "unique": source.random() < 0.3,
            "new": is_listed and source.random() < 0.5,
        }
        # What the command refuses: several texts of no characters, and a single one that is unique.
        if call["length"] == 0:
            call["count"] = None
        if call["count"] is None:
            call["unique"] = False
        # What nothing can follow, or only one text can be, gives up.
        if call["temperature"] == 0 or call["length"] < 3 or call["known_words"]:
            call |= {"unique": False, "new": False}
        calls.append((name, call))
    return calls


def by_the_command(command, path, call):
    """The texts that `charrnn sample` prints as JSON."""
    line = ["sample", path, "--json", "--temp", call["temperature"], "--seed", call["seed"]]
    line += ["--length", call["length"]]
    if call["prime"] is not None:
        line.append(f"--prime={call['prime']}")
    for stop in call["stops"]:
        line.append(f"--stop={stop}")
    for layer, unit, step in call["clamps"]:
        line.append(f"--clamp={layer}:{unit}={step / 20}")
    if call["count"] is not None:
        line += ["--count", call["count"]]
    for option in ("unique", "new", "known_words"):
        if call[option]:
            line.append(f"--{option.replace('_', '-')}")
    ran = command(*line)
    assert ran.code == 0, ran.err
    return [json.loads(one)["text"] for one in ran.out.splitlines()]


def for_the_module(call):
    """The options of a call as a module has them; None where it has not all."""
    if call["clamps"]:
        return None
    names = ("prime", "temperature", "length", "count", "unique")
    options = {name: call[name] for name in names} | {"seed": str(call["seed"])}
    return options | {
        "stop": call["stops"],
        "isNew": call["new"],
        "knownWords": call["known_words"],
    }


def for_the_page(call):
    """The options of a call as a page has them; None where it has not all."""
    has_all = call["stops"] in ([], ["\n"]) and call["count"] is None and call["prime"] != ""
    if not has_all or call["unique"] or call["new"]:
        return None
    return call | {"seed": str(call["seed"])}


@pytest.mark.thorough
@needs_node
def test_the_same_texts_by_the_command_the_page_and_the_module(command, tmp_path, monkeypatch):
    text = "".join(document + END for document in DOCUMENTS)
    monkeypatch.setattr(
        "charrnn.reports.learned_texts.read_reference_text", lambda _: ReferenceText([[text]])
    )
    calls = drawn_calls()
    compared = {"module": 0, "page": 0}
    for name, make in MADE.items():
        model = make()
        # A .zip has the weights of the model, and the words; its settings have no `auto`.
        settings = SMALLEST | TRAINED | {"num_layers": model.config.num_layers}
        model = replace(model, config=replace(model.config, **settings))
        path = model.export(tmp_path / f"{name}.zip", known_words=model.words is not None)
        mine = [call for one, call in calls if one == name]
        wanted = [by_the_command(command, path, call) for call in mine]

        digests = DocumentDigests.of(model) if name == "documents" else None
        given = [(for_the_module(call), texts) for call, texts in zip(mine, wanted, strict=True)]
        given = [(options, texts) for options, texts in given if options]
        found = sample_in_node(to_module(model, digests), [one for one, _ in given], tmp_path)
        for (options, texts), written in zip(given, found, strict=True):
            prime = model.generator._known_text(options["prime"] or "", "error", what="prime")
            expected = [prime + text for text in texts]
            assert written == (expected if options["count"] else expected[0]), options
            compared["module"] += 1

        given = [(for_the_page(call), texts) for call, texts in zip(mine, wanted, strict=True)]
        given = [(options, texts) for options, texts in given if options]
        found = write_in_node(to_model_page(model), [one for one, _ in given], tmp_path)
        for (options, texts), written in zip(given, found, strict=True):
            assert [written["text"]] == texts, options
            compared["page"] += 1
    assert compared["module"] >= 15 and compared["page"] >= 10
