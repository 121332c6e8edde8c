"""The command `evaluate`: other texts, and texts that a run was trained on."""

import json
from pathlib import Path

from built_runs import build_chain
from conftest import as_json
from synthetic import make_corpus

from charrnn.cli.arguments import read_text_corpus
from charrnn.config.settings import Config
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
