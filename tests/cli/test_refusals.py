"""What each command refuses: the exit code, and a word of the message without which nobody could help
themselves. Every message is an error of at most three lines, and stdout stays empty.

Tests `cli.explanations` and `cli.root`, too.
"""

import errno

import pytest
from built_runs import build_chain_and_quoting
from command_lines import run_line

import charrnn.commands.app  # noqa: F401 - registers the commands
from charrnn.cli.explanations import explain
from charrnn.text.sources import RUN_FILES

REFUSED = {
    "the program": (
        ("trian", 2, "'train'"),
        ("smaple chain", 2, "'sample'"),
        ("corpora fethc x", 2, "mean fetch?"),
        ("demo nosuch", 2, "leave out nosuch"),
    ),
    "train": (
        ("train nosuch.txt", 3, "charrnn corpora"),
        ("train latin.txt", 3, "--encoding"),
        ("train empty.txt", 3, "is empty"),
        ("train hollow --show-text", 3, "no file to learn from"),
        ("train one.txt", 3, "at least 16"),
        ("train nul.txt --alphabet byte --documents lines", 3, "nul.txt, line 3: there is a NUL"),
        ("train chain.txt --steps many", 2, "--steps"),
        ("train chain.txt --steps 1.000", 2, "1000"),
        ("train chain.txt --steps 5 --minutes 1", 2, "one budget only"),
        ("train chain.txt --minutes 0,5", 2, "0.5"),
        ("train chain.txt --type lstn", 2, "mean lstm?"),
        ("train chain.txt --hidden-size 1,024", 2, "1024"),
        ("train chain.txt --weight-decay 0.1", 2, "--set weight_decay="),
        ("train chain.txt --set learning_rat=1", 2, "mean learning_rate?"),
        ("train chain.txt --set dropout=0,1", 2, "0.1"),
        ("train chain.txt --hidden-size 8 --set hidden_size=16", 2, "twice"),
        ("train chain.txt --set unique_documents=true", 2, "--documents"),
        ("train chain.txt --device tpu", 2, "--device"),
        ("train chain.txt --recipe nosuch", 2, "classic"),
        ("train chain.txt --init-from nosuch", 4, "included models: code, prose"),
        ("train poems.csv --column nosuch", 3, "title, poem"),
        ("train chain.txt --out one.txt", 2, "give --out another name"),
        ("train chain.txt --out=", 2, "--out is empty"),
        ("train chain.txt --out checkpoints/chain", 2, "--resume checkpoints/chain"),
        ("train chain.txt --resume chain", 2, "--init-from"),
        ("train --resume chain --type gru", 2, "cannot change --type"),
        ("train chain.txt --init-from chain --hidden-size 7", 2, "--init-from"),
        ("train chain.txt --set omega=0.1 --type gru", 2, "omega"),
        ("train chain.txt --set learned_after=Z --steps 1", 2, "'Z'"),
        ("train chain.txt --documents lines --set join_lines=true", 2, "--join-lines"),
        ("train chain.txt --alphabet byte --encoding latin-1", 2, "encoding"),
        ("train chain.txt --hidden-size 99999", 2, "16384"),
        ("train --resume nosuch", 4, "included models: code, prose"),
    ),
    "sample": (
        ("sample --stop", 2, "Try 'charrnn sample --help'"),
        ("sample nosuch", 4, "included models: code, prose"),
        ("sample chain 500", 2, "leave out 500"),
        ("sample chain --prime @", 3, "there is no file ''. Give"),
        ("sample chain --temperature 1", 2, "mean --temp?"),
        ("sample chain --top_k 5", 2, "mean --top-k?"),
        ("sample chain --tempp=1", 2, "mean --temp?"),
        ("sample chain --temp -1", 2, "--temp"),
        ("sample chain --temp nan", 2, "--temp"),
        ("sample chain --temp hot", 2, "0.2,0.5,1"),
        ("sample chain --top-p 0,9", 2, "0.9"),
        ("sample chain --length 12.345.678", 2, "12345678"),
        ("sample chain --seed 0,5", 2, "--seed"),
        ("sample chain --seed 1 --count 0", 2, "at least 1"),
        ("sample chain --beam 0", 2, "between 1 and 4096"),
        ("sample chain --match a{60000}", 2, "50,000"),
        ("sample chain --beam 9999", 2, "4096"),
        ("sample chain --no-copy 0", 2, "at least 1"),
        ("sample chain --match [", 2, "--match"),
        ("sample chain --prime Z", 3, "--unknown nearest"),
        ("sample chain --prime @nosuch.txt", 3, "begins with @@"),
        ("sample chain --clamp quotes=high", 2, "charrnn visualize"),
        ("sample chain --clamp 0:99=1", 2, "0 to 8"),
        ("sample chain --clamp 0:1=1 --clamp 0:1=0", 2, "twice"),
        ("sample chain --color 0:99", 2, "0 to 8"),
        ("sample chain --export a.doc", 2, "end in .html, .svg, .png, .txt, .json or .csv."),
        ("sample chain --export a.XLSX", 2, "or .csv; for a spreadsheet: .csv."),
        ("sample chain --color 0:7 --export a.ods", 2, ".png, .txt or .json."),
        ("sample chain --trace --export a.csv", 2, "no table"),
        ("sample chain --stop", 2, "--stop"),
        ("sample chain --temp 0.2,1 --count 2", 2, "one --temp"),
        ("sample chain --trace --count 2", 2, "--count"),
        ("sample chain --beam 2 --count 3", 2, "widen --beam"),
        ("sample chain --length 30000 --export x.svg", 2, "smaller --length"),
        ("sample chain --length 524289 --beam 8", 2, "--length 524288"),
    ),
    "predict": (
        ("predict chain", 2, "the text is missing"),
        ("predict nosuch a", 4, "included models: code, prose"),
        ("predict chain €", 3, "--unknown nearest"),
        ("predict chain € --unknown nearest", 3, "none that is similar"),
    ),
    "visualize": (
        ("visualize nosuch", 4, "included models: code, prose"),
        ("visualize checkpoints", 4, "name one of them: chain, quoting"),
        ("visualize chain chain", 2, "leave out chain"),
        ("visualize chain chain --gradients", 2, "--gradients --with"),
        ("visualize chain --cell x", 2, "layer:unit"),
        ("visualize chain --cell 0:99", 2, "0 to 8"),
        ("visualize chain --cell 0:7 --detector quote --detector digit", 2, "quote, digit"),
        ("visualize chain --cell 0:7 --detector line-position", 2, "leave --detector out"),
        ("visualize chain --cell 0:7 --detector quote --guesses", 2, "--guesses"),
        ("visualize chain --detector quotes", 2, "mean quote?"),
        ("visualize chain --detector quote", 3, "--detect"),
        ("visualize chain --detect [", 2, "regular expression"),
        ("visualize chain --gates", 2, "lstm"),
        ("visualize chain --text empty.txt", 3, "is empty"),
        ("visualize chain --text /dev/null", 3, "is empty"),
        ("visualize chain --text one.txt", 3, "at least 200"),
        ("visualize chain --surprise --text one.txt", 3, "at least"),
        ("visualize chain --gates --export s.csv", 2, "no table"),
        ("visualize chain --export a.doc", 2, ".svg"),
        ("visualize chain --export a.pdf", 2, ".svg"),
        ("visualize chain --gradients --text one.txt", 3, "characters"),
        ("visualize chain --evidence best --text one.txt", 3, "at least 200"),
    ),
    "evaluate": (
        ("evaluate nosuch", 4, "included models: code, prose"),
        ("evaluate checkpoints", 4, "name them: charrnn evaluate chain quoting"),
        ("evaluate chain --part test", 2, "--split"),
        ("evaluate chain --text nosuch.txt", 3, "charrnn corpora"),
        ("evaluate chain --text empty.txt", 3, "is empty"),
        ("evaluate chain quoting", 2, "--text"),
        ("evaluate chain --text one.txt", 3, "at least"),
    ),
    "others": (
        ("runs nosuch", 4, "included models: code, prose"),
        ("runs checkpoints --plot", 4, "name them: charrnn runs chain quoting --plot"),
        ("runs delete checkpoints", 4, "name them: charrnn runs delete chain quoting"),
        ("runs chain one.zip", 4, "one.zip"),
        ("runs chain --export a.doc", 2, ".svg"),
        ("runs chain --plot --export a.ods", 2, ".png, .pdf, .txt or .json."),
        ("runs delete", 2, "RUN"),
        ("runs delete other", 2, "remove other folders by hand"),
        ("export chain", 2, "a file, after the run"),
        ("export nosuch x.zip", 4, "included models: code, prose"),
        ("export chain a.doc", 2, ".zip"),
        ("corpora list x", 2, "show NAME"),
        ("corpora list --kind nosuch", 2, "prose"),
        ("corpora show nosuch", 3, "charrnn corpora"),
        ("corpora fetch nosuch", 3, "charrnn corpora"),
        ("explore chain", 2, "charrnn visualize"),
    ),
}
"""Command lines with their exit code and what the message must name."""


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    """A folder with two runs, `chain` and `quoting`, and texts of which little can be made."""
    folder = tmp_path_factory.mktemp("laboratory")
    build_chain_and_quoting(folder)
    (folder / "latin.txt").write_bytes("grün, so grün\n".encode("latin-1") * 20)
    (folder / "poems.csv").write_text("title,poem\na,b\n")
    (folder / "one.txt").write_text("a")
    (folder / "nul.txt").write_text("one\ntwo\nthr\0ee\n")
    (folder / "hollow").mkdir()
    (folder / "other").mkdir()
    for file in RUN_FILES:
        (folder / "other" / file).write_text("of: another program\n")
    for empty in ("empty.txt", "one.zip"):
        (folder / empty).touch()
    return folder


@pytest.mark.parametrize("command", REFUSED)
def test_what_cannot_be_done_is_refused_with_a_remedy(laboratory, command, monkeypatch):
    monkeypatch.chdir(laboratory)
    before = sorted(path for path in laboratory.rglob("*") if path.name != "lock")
    for line, code, word in REFUSED[command]:
        ran = run_line(line.split())
        print(line)
        ran.assert_refused(code)
        assert word in " ".join(ran.err.split())
    after = sorted(path for path in laboratory.rglob("*") if path.name != "lock")
    assert after == before, "nothing was written"


@pytest.mark.parametrize(
    "number, file, words",
    [
        (errno.ENOSPC, "big.csv", ("cannot write big.csv", "make room")),
        (errno.EACCES, "secret.txt", ("cannot open secret.txt", "permissions")),
        (errno.ENOENT, "nosuch/a.txt", ("cannot find nosuch/a.txt", "mistake in the name")),
        (errno.ENOSPC, None, ("cannot write the output", "make room")),
        (errno.ETIMEDOUT, "far.txt", ("cannot read or write far.txt",)),
    ],
)
def test_an_error_of_the_system_says_what_was_tried_and_what_to_do(number, file, words):
    explained = explain(OSError(number, "reason", file), ["runs"])
    assert explained.exit_code == 1
    assert "reason" in explained.message
    assert [word for word in words if word not in explained.message] == []


def test_a_training_that_a_full_disk_has_stopped_is_resumed():
    full = OSError(errno.ENOSPC, "reason", None)
    assert "charrnn train --resume" in explain(full, ["train", "book.txt"]).message
    assert "--resume" not in explain(full, ["sample", "prose"]).message
