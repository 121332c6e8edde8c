"""The command `evaluate`: other texts, and texts that a run was trained on."""

import csv
import json
from pathlib import Path

from built_runs import build_chain, build_chain_and_quoting
from conftest import as_json
from known_weights import quoting_text
from synthetic import make_corpus

import charrnn
from charrnn.cli.arguments import read_text_corpus
from charrnn.config.settings import Config
from charrnn.runs.logs import MetricsLog
from charrnn.text.corpus import read_corpus
from charrnn.text.recorded_corpus import recorded_corpus, state_of_corpus

CYCLE = "abcdé\n"
TEXT = "".join("abcdé\ndab\néa"[(n * n) % 12] for n in range(6000))


def test_evaluate_reads_another_text(command, lab, corpus):
    like = make_corpus(num_chars=3_000, seed=9).text.encode()
    Path("like.txt").write_bytes(like)
    Path("unlike.txt").write_bytes((" ".join(reversed(corpus.text[:3_000])) + "éé").encode())
    found = [
        as_json(command("evaluate --text", f"{name}like.txt", "--json")) for name in ("", "un")
    ]
    assert found[0]["nats_per_char"] < 1.5 < found[1]["nats_per_char"]
    assert [one["num_unknown"] for one in found] == [0, 2]
    assert as_json(command("evaluate --text - --json", stdin=like)) == found[0]
    assert "does not know 2 characters of this text" in found[1]["notes"][0]


def test_a_text_that_a_run_was_trained_on_is_named(command, tmp_path):
    for name, file, learned in (
        ("one", "text.txt", TEXT * 3),
        ("three", "else.txt", TEXT[:3000] * 5),
    ):
        (tmp_path / file).write_text(learned, encoding="utf-8")
        build_chain(tmp_path / "checkpoints" / name, CYCLE, corpus=tmp_path / file)
    own = json.loads(command("evaluate one three --text text.txt --json").out)
    assert [row.get("trained_share") for row in own["rows"]] == [0.9, None] and own[
        "trained_share"
    ] == 0.9
    note = "one was trained on 90 % of this text. Leave --text out for the loss of its validation text."
    assert note in own["notes"]
    config = Config(documents="lines", corpus=("text.txt",))
    state = state_of_corpus(read_corpus(config))
    recorded, text = (
        recorded_corpus("lines", config, state, folder=Path()),
        read_text_corpus("text.txt", config).content,
    )
    assert recorded.is_whole(text), "whatever the order of its documents"
    assert not recorded.is_whole(text[:-1]) and not recorded.is_whole(TEXT * 3)


def test_the_table_for_a_spreadsheet_has_numbers_alone(command, tmp_path):
    build_chain_and_quoting(tmp_path)
    text = quoting_text(3_000, seed=2)
    Path("text.txt").write_text(text, encoding="utf-8")
    log = MetricsLog(Path("checkpoints/quoting/metrics.jsonl"))
    log.append({"event": "step", "step": 1, "seconds": 2.5})
    log.append({"event": "step", "step": 2, "seconds": 9.0})
    line = "evaluate quoting prose --text text.txt"
    assert command(line, "--export", "table.csv").code == 0
    expected = json.loads(command(line, "--json").out)["rows"][0]

    with Path("table.csv").open(encoding="utf-8-sig", newline="") as file:
        own, included = csv.DictReader(file)
    for name in ("nats_ci", "bpc_ci", "bits_per_byte_ci", "first_guess_ci"):
        ends = [float(own[f"{name}.low"]), float(own[f"{name}.high"])]
        assert ends == expected[name]
    assert int(own["weights"]) == charrnn.load("quoting").description.num_parameters
    assert (float(own["seconds"]), included["seconds"]) == (2.5, "")
    assert not any("[" in value for value in own.values())
