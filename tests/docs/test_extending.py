"""docs/use/extending.md: every step of the page, followed in a copy of the package, gives what the page
says."""

import ast
import json
import re
from pathlib import Path

import pytest
from environment import REPOSITORY
from fake_packages import install

import charrnn
from charrnn.hooks import HOOKS

PACKAGE = Path(charrnn.__file__).parent
PAGE = REPOSITORY / "docs" / "use" / "extending.md"
STEP = re.compile(
    r"^(?:(?P<end>At the end)|In the table `(?P<table>\w+)`|(?P<file>A new"
    r" file)|(?P<module>`charrnn_examples\w*\.py`)"
    r"|(?P<how>Before|After|Replace) the"
    r" line\s`(?P<line>[^`]+)`)(?:\sof)?(?:\s*`(?P<path>[\w/.]+)`)?[^`]*:\n\n"
    r"```(?:python)?\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
"""A step of the page: where some code belongs, and the code."""
TEXT = "A lamp (by the door) is lit... She said so (twice). And then? Nothing (at all).\n" * 60
pytestmark = pytest.mark.docs


def follow(step, root):
    """Make the change that a step describes in the package below `root`."""
    path = root / step["path"]
    if step["file"]:
        path.write_text(step["code"], encoding="utf-8")
        return
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines(keepends=True)
    if step["end"]:
        lines.append("\n\n" + step["code"])
    elif step["table"]:
        lines.insert(table_end(source, step["table"]) - 1, step["code"])
    else:
        assert lines.count(step["line"] + "\n") == 1, f"{path} has this line once: {step['line']}"
        index = lines.index(step["line"] + "\n")
        begin, end = {"Before": (0, 0), "After": (1, 1), "Replace": (0, 1)}[step["how"]]
        code = step["code"]
        if step["how"] == "Before" and not step["line"].startswith(" "):
            code += "\n\n"
        lines[index + begin : index + end] = [code]
    path.write_text("".join(lines), encoding="utf-8")


def table_end(source, name):
    """Return the number of the line with the closing bracket of a table at module level."""
    for node in ast.parse(source).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == name:
            assert node.end_lineno is not None
            return node.end_lineno
    raise AssertionError(f"there is no table {name}")


@pytest.fixture(scope="module")
def steps():
    return list(STEP.finditer(PAGE.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def site(steps, tmp_path_factory):
    """Return a copy of the repository in which every step of the page but the plugins was
    followed."""
    copy = tmp_path_factory.mktemp("site")
    # Not copytree: it copies permissions too, and a checkout may be read-only.
    for path in (
        path
        for folder in ("charrnn", "tests")
        for path in (REPOSITORY / folder).rglob("*")
        if path.is_file()
    ):
        if "__pycache__" not in path.parts:
            target = copy / path.relative_to(REPOSITORY)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    for step in steps:
        if not step["module"]:
            follow(step, copy)
    return copy


@pytest.fixture
def corpus_of_brackets(tmp_path):
    path = tmp_path / "brackets.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def succeed(process, site, *commands):
    """Run commands of the package in `site`; return the stdout of each."""
    printed = []
    for command in commands:
        ran = process("-m", "charrnn", *command, PYTHONPATH=str(site))
        assert ran.returncode == 0, ran.stderr.decode()
        printed.append(ran.stdout.decode())
    return printed


def train(corpus, *options):
    line = "train --hidden-size 12 --set embedding_size=4 --layers 2 --steps 2"
    return (*line.split(), corpus, *options)


def test_the_page_lists_every_hook():
    table = PAGE.read_text(encoding="utf-8").partition("| hook |")[2].partition("\n\n")[0]
    first_column = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert {*re.findall(r"`(\w+)`", " ".join(first_column))} == HOOKS.keys()


def test_every_snippet_is_part_of_a_step(steps):
    fences = re.findall(
        r"^```(\w*)\n.*?^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(steps) == sum(1 for language in fences if language in ("", "python"))
    assert sum(1 for step in steps if step["module"]) == 2


@pytest.mark.slow
@pytest.mark.trained
def test_what_the_page_adds_works(site, process, tmp_path, corpus_of_brackets):
    line = ("visualize", "--text", corpus_of_brackets)
    *helps, _, sampled, found, characters = succeed(
        process,
        site,
        ("visualize", "--help"),
        ("train", "--help"),
        train(corpus_of_brackets, "--type", "ugrnn"),
        ("sample", "--length", 20, "--seed", 0),
        (*line, "--find", "--detector", "parenthesis", "--json"),
        ("vocabulary", "--json"),
    )
    shown = "".join(helps)
    (score,) = json.loads(found)["findings"]
    assert "parenthesis" in shown and "ugrnn" in shown
    [config] = tmp_path.glob("checkpoints/*/config.yaml")
    assert "cell_type: ugrnn" in config.read_text(encoding="utf-8").splitlines()
    assert len(sampled) >= 20 and score["detector"] == "parenthesis"
    assert score["num_positive"] == sum(
        len(inside) for inside in re.findall(r"\([^)]*(?=\))", TEXT[len(TEXT) // 2 :])
    )
    assert set(TEXT) <= set(json.loads(characters))


@pytest.mark.slow
@pytest.mark.trained
def test_the_example(steps, process, tmp_path, corpus_of_brackets):
    project = re.search(
        r"```toml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    entries = re.search(r"\[project\.entry-points\.charrnn\]\n(.*)", project[1], re.DOTALL)
    entry_points = "[charrnn]\n" + entries[1].replace('"', "")
    modules = {
        step["module"].strip("`").removesuffix(".py"): step["code"]
        for step in steps
        if step["module"]
    }
    site = install(tmp_path / "site", "charrnn-examples", entry_points, **modules)
    (site / "charrnn").symlink_to(PACKAGE)

    _, sampled, found = succeed(
        process,
        site,
        train(corpus_of_brackets, "--type", "leaky"),
        ("sample", "--length", 20, "--seed", 0),
        (
            *("visualize", "--text", corpus_of_brackets, "--find", "--json"),
            *("--detector", "sentence-position"),
        ),
    )
    assert len(sampled) >= 20
    [score] = json.loads(found)["findings"]
    assert score["detector"] == "sentence-position"
