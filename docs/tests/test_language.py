"""Check the documentation: links that work, docstrings of constants."""

import ast
import re
from itertools import pairwise

import pytest
from environment import REPOSITORY

pytestmark = pytest.mark.docs

PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md")
    for page in REPOSITORY.glob(pattern)
)
NAMES = [str(page.relative_to(REPOSITORY)) for page in PAGES]


@pytest.mark.parametrize("page, name", [*zip(PAGES, NAMES, strict=True)], ids=NAMES)
def test_the_links_of_a_page_work(page, name):
    text = page.read_text(encoding="utf-8")
    for path, fragment in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        target = page.parent / path if path else page
        assert target.exists(), path
        if fragment:  # made of a heading, as GitHub does
            titles = re.findall(r"(?m)^#+ (.*)$", target.read_text(encoding="utf-8"))
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert fragment in anchors, f"{path}#{fragment}"
    # The reader of the page on extending creates these two.
    new = (
        {"charrnn/plugins/analyses/vocabulary.py", "charrnn/plugins/analyses/entropy.py"}
        if name.endswith("extending.md")
        else set()
    )
    paths = {*re.findall(r"`((?:charrnn|tests|benchmarks|docs|\.ci)/[\w/.-]*)`", text)}
    # An entry of the log names what was there on its day.
    if name != "benchmarks/LOG.md":
        assert [path for path in paths - new if not (REPOSITORY / path).exists()] == []


def test_every_page_and_every_picture_is_used_by_another_page():
    linked = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        links = [
            *re.findall(r"\]\(([^)#\s]+)", text),
            *re.findall(r'(?:src|srcset)="([^"]+)"', text),
        ]
        linked |= {(page.parent / path).resolve() for path in links} - {page.resolve()}
    assert (REPOSITORY / "docs" / "learn" / "tour.md").resolve() in linked
    files = [page for page in PAGES if page.name != "README.md"]
    files += [*REPOSITORY.glob("docs/**/*.svg"), *REPOSITORY.glob("docs/**/*.csv")]
    assert [
        str(file.relative_to(REPOSITORY)) for file in files if file.resolve() not in linked
    ] == []


def constants_without_docstring(source):
    """Yield the public constants of a module that no string literal follows, except options: they
    have a help text."""
    body = ast.parse(source).body
    for node, following in pairwise([*body, ast.Pass()]):
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        # What has a help text, or words for messages, needs no docstring.
        has_text = isinstance(node.value, ast.Call) and ast.unparse(node.value.func) in (
            "Option",
            "Range",
        )
        is_described = has_text or (
            isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        )
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [
            name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)
        ]
        yield from (
            name
            for name in names
            if name.isupper() and not name.startswith("_") and not is_described
        )


def test_every_public_constant_has_a_docstring():
    modules = sorted((REPOSITORY / "charrnn").rglob("*.py"))
    found = {
        module: [*constants_without_docstring(module.read_text(encoding="utf-8"))]
        for module in modules
    }
    assert {
        str(module.relative_to(REPOSITORY)): names for module, names in found.items() if names
    } == {}
