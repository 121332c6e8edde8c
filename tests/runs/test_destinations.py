"""The files that a user names for a result: none is replaced that charrnn did not write, unless the
user allows it, and never a text of a run or what is inside a run."""

import os
import re
from pathlib import Path

import every_option
import pytest
from built_runs import build_chain
from known_weights import CYCLE, chain_text

from charrnn.cli.root import commands
from charrnn.errors import UsageError
from charrnn.runs.destinations import Destination
from charrnn.runs.logs import MetricsLog
from charrnn.views import svg
from charrnn.views.delivery import FORMATS

LINES = {
    "sample": "sample chain --length 9 --seed 1 --export {}",
    "visualize": "visualize chain --surprise --text other.txt --export {}",
    "evaluate": "evaluate chain --text other.txt --export {}",
    "predict": "predict chain a --export {}",
    "runs": "runs chain --plot --export {}",
    "export": "export chain {}",
}
"""A command line for each file that a user names for a result."""
SUFFIXES = {"export": ".zip"}
"""The formats of those that do not write a .txt."""
MARKED = [suffix for suffix, one in FORMATS.items() if one.mark]


@pytest.fixture
def destinations(command):
    """Build a run `chain` of `corpus.txt` and what its commands read; return what runs the command
    line of a name for a file."""
    Path("corpus.txt").write_text(chain_text(3_000))
    Path("other.txt").write_text(chain_text(400))
    run = build_chain(Path("chain"), CYCLE, corpus=Path("corpus.txt"))
    log = MetricsLog(run / "metrics.jsonl")
    log.append({"event": "evaluation", "step": 1, "seconds": 1.0, "val_nats": 1.0})

    def call(name, file, *more):
        return command(LINES[name].format(file), *more)

    return call


@pytest.mark.parametrize("name", LINES)
def test_a_file_that_charrnn_did_not_write_is_replaced_only_with_force(destinations, name):
    file = Path(f"mine{SUFFIXES.get(name, '.txt')}")
    file.write_text("mine")
    destinations(name, file).assert_refused(2, f"{file} exists", "--force")
    assert file.read_text() == "mine"
    assert destinations(name, file, "--force").code == 0
    assert file.read_bytes() != b"mine"


@pytest.mark.parametrize("name", [name for name in LINES if name not in SUFFIXES])
def test_the_text_of_a_run_is_never_replaced(destinations, name):
    whole = Path("corpus.txt").read_bytes()
    os.link("corpus.txt", "same.txt")
    for file in ("corpus.txt", "same.txt"):
        destinations(name, file, "--force").assert_refused(2, f"{file} is a text of the run chain")
        assert Path(file).read_bytes() == whole


@pytest.mark.parametrize("name", LINES)
def test_no_file_inside_a_run_is_written_or_replaced(destinations, name):
    suffix = SUFFIXES.get(name, ".txt")
    new = Path(f"chain/notes{suffix}")
    destinations(name, new).assert_refused(2, "is inside the run")
    assert not new.exists()

    file = Path(f"chain/step-000001/notes{suffix}")
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    destinations(name, file, "--force").assert_refused(2, "is inside the run")
    assert file.read_text() == "mine"


@pytest.mark.parametrize("out", ["chain/step-00000099", "chain/inner", "chain/a/../b", "link/a"])
@pytest.mark.parametrize(
    "line", ["train other.txt --steps 1 --out {}", "train --recipe vanishing --out {}"]
)
def test_no_run_is_made_inside_a_run(destinations, command, line, out):
    Path("link").symlink_to("chain")
    names = sorted(os.listdir("chain"))
    ran = command(line.format(out))
    assert (ran.code, ran.out, sorted(os.listdir("chain"))) == (2, "", names)
    assert f"{out} is inside the run chain: use another folder" in ran.err


def test_a_link_to_a_file_inside_a_run_is_not_followed(destinations):
    Path("chain/notes.txt").write_text("mine")
    Path("link.txt").symlink_to("chain/notes.txt")
    assert "is inside the run" in destinations("sample", "link.txt", "--force").err
    assert Path("chain/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("suffix", [suffix for suffix in MARKED if suffix != ".pdf"])
@pytest.mark.parametrize("name", ["sample", "visualize", "evaluate", "runs"])
def test_a_result_replaces_a_result_of_its_format(destinations, name, suffix):
    if suffix == ".png":
        pytest.importorskip("resvg_py", reason="resvg-py is not installed")
        if not svg._has_font():
            pytest.skip("this machine has no font")
    file = Path(f"result{suffix}")
    assert destinations("sample", file).code == 0
    ran = destinations(name, file)
    assert (ran.code, ran.out) == (0, f"{file}\n")


def test_a_chart_replaces_a_chart(destinations):
    for _ in range(2):
        ran = destinations("runs", "curves.pdf")
        assert (ran.code, ran.out) == (0, "curves.pdf\n")


@pytest.mark.parametrize("name", ["sample", "visualize", "evaluate", "predict"])
def test_what_is_no_chart_is_refused_as_a_pdf(destinations, name):
    refused = destinations(name, "result.pdf")
    refused.assert_refused(2, "--export result.pdf: this result is no chart; use .svg, or .html")
    assert not Path("result.pdf").exists()


def test_a_table_of_runs_is_refused_as_a_pdf(destinations, command):
    command("runs chain --export runs.pdf").assert_refused(2, "this result is no chart")


READING = [
    (name, option.flag)
    for name in ("sample", "visualize", "evaluate")
    for option in every_option.parameters_of_command(name)
    if option.flag and re.search("FILE|RUN", option.metavar or "")
    if option.flag != "--export"
]
"""Each option by which a command that writes a file reads one, with its command."""
TYPED = {
    "--prime": "--prime @other.txt",
    "--detect": "--detect mine=other.txt",
    "--with": "--gradients --with other.txt",
}
"""How such a file is typed, where not by its name alone."""


@pytest.mark.parametrize("name, flag", READING)
def test_no_option_names_a_file_that_is_replaced(destinations, command, name, flag):
    line = f"{name} chain --force --export other.txt {TYPED.get(flag, f'{flag} other.txt')}"
    ran = command(line)
    ran.assert_refused(2, "other.txt is a file that is read")


def test_the_options_that_read_files_are_found():
    assert ("sample", "--prime") in READING
    assert {("visualize", "--detect"), ("visualize", "--with")} <= set(READING)


@pytest.mark.parametrize(
    "line",
    [
        "export model.zip model.zip",
        "export ./model.zip model.zip",
        "export model.zip same.zip",
    ],
)
def test_the_model_file_that_is_read_is_not_replaced(destinations, command, line):
    assert command("export chain model.zip").code == 0
    os.link("model.zip", "same.zip")
    whole = Path("model.zip").read_bytes()
    ran = command(line, "--force")
    assert (ran.code, ran.out, Path("model.zip").read_bytes()) == (2, "", whole)


def test_a_link_is_followed_and_stays_one(destinations):
    Path("behind.txt").write_text("mine")
    Path("link.txt").symlink_to("behind.txt")
    assert destinations("sample", "link.txt").code == 2
    assert destinations("sample", "link.txt", "--force").code == 0
    assert Path("link.txt").is_symlink()
    assert Path("behind.txt").read_text() != "mine"


def test_a_file_that_appears_meanwhile_is_not_replaced(destinations):
    destination = Destination(Path("late.txt"))
    destination.check()
    Path("late.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"late.txt exists"):
        destination.write(b"result")
    assert Path("late.txt").read_text() == "mine"


def test_every_option_that_writes_a_file_has_a_command_line_here():
    with_force = set()
    writing = set()
    for name in set(commands()) - {"corpora"}:
        for option in every_option.parameters_of_command(name):
            flag = option.flag
            if flag == "--force":
                with_force.add(name)
            if flag in ("--export",) or (flag == "--out" and option.metavar == "FILE"):
                writing.add(name)
    lines = {line.split()[0] for line in LINES.values()}
    assert with_force == {*writing, "export"} == lines


@pytest.mark.parametrize("source", ["texts", "texts/*.txt", "texts/one", "texts/one.txt"])
def test_a_file_of_a_folder_or_a_pattern_is_a_text_that_is_read(here, source):
    Path("texts").mkdir()
    Path("texts/one.txt").write_text("one")
    Path("other.txt").write_text("other")
    with pytest.raises(UsageError, match="is a file that is read"):
        Destination(Path("texts/one.txt"), force=True, read=[source]).check()
    Destination(Path("other.txt"), force=True, read=[source]).check()


def test_a_run_in_another_folder_keeps_its_text_too(destinations, tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    text = folder / "far.txt"
    text.write_text(chain_text(3_000))
    run = build_chain(folder / "far", CYCLE, corpus=text)
    with pytest.raises(UsageError, match="is a text of the run far"):
        Destination(text, force=True, read=[f"{run}@1"]).check()


def test_a_run_that_is_called_like_a_pattern_is_a_name(destinations):
    os.rename("chain", "*")
    Path("mine.txt").write_text("mine")
    Destination(Path("mine.txt"), force=True, read=["*"]).check()
    with pytest.raises(UsageError, match="is a text of the run"):
        Destination(Path("corpus.txt"), force=True, read=["*"]).check()
