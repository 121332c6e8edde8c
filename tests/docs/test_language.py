"""Check the documentation: links that work, options that exist, facts that have one place, docstrings
of constants."""

import ast
import re
from collections import defaultdict
from itertools import pairwise

import pytest
from environment import REPOSITORY, load_script

pytestmark = pytest.mark.docs

PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md")
    for page in REPOSITORY.glob(pattern)
)
NAMES = [str(page.relative_to(REPOSITORY)) for page in PAGES]
DOCS = sorted(REPOSITORY.glob("docs/**/*.md"))


@pytest.mark.parametrize("page, name", [*zip(PAGES, NAMES, strict=True)], ids=NAMES)
def test_the_links_of_a_page_work(page, name):
    text = page.read_text(encoding="utf-8")
    for path, fragment in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        target = page.parent / path if path else page
        assert target.exists(), path
        if fragment:  # made of a heading, as GitHub does
            assert fragment in anchors_of(target), f"{path}#{fragment}"
    # The reader of the page on extending creates these two.
    new = {"charrnn/commands/vocabulary.py"} if name.endswith("extending.md") else set()
    paths = {*re.findall(r"`((?:charrnn|tests|benchmarks|docs|\.ci)/[\w/.-]*)`", text)}
    # An entry of the log names what was there on its day.
    if name != "benchmarks/LOG.md":
        assert [path for path in paths - new if not (REPOSITORY / path).exists()] == []


SOURCES = [
    path
    for folder in ("charrnn", "tools", "tests", "benchmarks", ".ci")
    for path in sorted((REPOSITORY / folder).rglob("*"))
    if path.suffix in {".py", ".yaml", ".toml", ".html", ".js", ""} and path.is_file()
]
"""The files whose comments and messages name pages."""
NAMED_PAGE = re.compile(r"\bdocs/[\w/-]+\.md(?:#[\w-]+)?")
"""A page, and perhaps a section of it, as code names it."""
WRITTEN = {"docs/learn/examples/minimal.md"}
"""Pages that only the web site has."""


def anchors_of(page):
    """Return the anchors of the headings of a page, as GitHub makes them."""
    titles = re.findall(r"(?m)^#+ (.*)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_no_message_or_comment_names_a_page_or_a_section_that_is_gone():
    named = {
        name
        for path in SOURCES
        for name in NAMED_PAGE.findall(path.read_text(encoding="utf-8", errors="replace"))
    }
    assert len(named) > 10
    gone = set()
    for name in named - WRITTEN:
        path, _, section = name.partition("#")
        page = REPOSITORY / path
        if not page.exists() or (section and section not in anchors_of(page)):
            gone.add(name)
    assert gone == set()


def test_no_figure_is_of_a_section_that_is_gone():
    entries = load_script(REPOSITORY / "tools" / "figure_entries.py")
    named = {section for figure in entries.read_figures().values() for section in figure["pages"]}
    assert named - {section for section, _ in entries.sections()} == set()


OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]+")
INVENTED = {"--entropy", "--typical-p"}
"""Options that pages add as an example."""


@pytest.fixture(scope="module")
def options():
    """The options of each command."""
    commands = load_script(REPOSITORY / "tools" / "make_reference.py").commands()
    found = {}
    for name, command in commands:
        own = {word for parameter in command.params for word in parameter.opts}
        found.setdefault(name.partition(" ")[0], {"--help"}).update(own)
    return found


COMMANDS = [*DOCS, REPOSITORY / "README.md", REPOSITORY / "docs" / "figures.yaml"]
"""The files that show commands."""


@pytest.mark.parametrize("page", COMMANDS, ids=str)
def test_every_option_of_a_page_exists(page, options):
    text = page.read_text(encoding="utf-8")
    for name, words in re.findall(r"charrnn ([a-z]+)\b([^`\n|#&;]*)", text):
        assert {*OPTION.findall(words)} - INVENTED <= options.get(name, set()), name
    known = set().union(*options.values())
    assert {*re.findall(r"`(--[a-z][\w-]+)[^`]*`", text)} - INVENTED <= known


def test_no_sentence_stands_on_two_pages():
    places = defaultdict(set)
    for page in DOCS:
        text = re.sub(r"(?ms)^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"))
        for paragraph in re.split(r"\n\s*\n|\n(?=\s*[-|*] ?)", text):
            for sentence in re.split(r"(?<=[.!?:])\s+", " ".join(paragraph.split())):
                if len(re.findall(r"\w{2,}", sentence)) > 8:
                    places[sentence].add(page.name)
    captions = {sentence for sentence in places if sentence.startswith("*")}
    twice = {sentence for sentence, pages in places.items() if len(pages) > 1}
    assert twice - captions == set()


def constants_without_docstring(source):
    """Yield the public constants of a module that no string literal follows, except options and
    ranges: they have a help text."""
    body = ast.parse(source).body
    for node, following in pairwise([*body, ast.Pass()]):
        assignment = re.match(r"([A-Z][\w, ]*)(: .*)? = (Option|Range)?", ast.unparse(node))
        is_described = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if assignment and assignment[1].isupper() and not assignment[3] and not is_described:
            yield assignment[1]


def test_every_public_constant_has_a_docstring():
    modules = sorted((REPOSITORY / "charrnn").rglob("*.py"))
    found = {
        module: [*constants_without_docstring(module.read_text(encoding="utf-8"))]
        for module in modules
    }
    assert {
        str(module.relative_to(REPOSITORY)): names for module, names in found.items() if names
    } == {}
