"""The web site of the pages, opened in a browser: tools/make_site.py."""

import html
import re
import subprocess
import sys

import pytest
from browser import dump, needs_browser
from conftest import locked
from elements import text_of
from environment import REPOSITORY

MAKE = REPOSITORY / "tools"
pytestmark = pytest.mark.docs


@pytest.fixture(scope="module")
def site(shared):
    """Build the site once for all workers; return its folder."""
    pytest.importorskip("furo", reason="the extra docs is not installed")
    folder = shared / "site"
    with locked(shared / "site.lock"):
        if not folder.exists():
            subprocess.run([sys.executable, MAKE / "make_site.py", "--folder", folder], check=True)
    return folder


def test_a_broken_link_ends_the_build(site, tmp_path):
    (tmp_path / "README.md").write_text("# Home\n\n[A page](missing.md)\n", encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-c", MAKE / "site", tmp_path]
    ran = subprocess.run([*command, tmp_path / "out"], capture_output=True, encoding="utf-8")
    assert ran.returncode == 1
    assert "missing" in ran.stderr


def test_no_page_shows_something_of_another_host(site):
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    others = re.compile(
        r"""(?:<(?:script|img|iframe|source)[^>]*\ssrc(?:set)?=["']?|<link[^>]*\shref="|url\(["']?|@import\s*["'])(?:https?:)?//"""
    )
    assert len(pages) > 50
    assert [page for page in pages if others.search(page.read_text(encoding="utf-8"))] == []


def test_the_order_of_the_pages_is_that_of_their_index(site):
    index = (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8")
    listed = [*dict.fromkeys(re.findall(r"\]\(([\w-]+/[\w-]+)\.md[#)]", index))]
    home = (site / "README.html").read_text(encoding="utf-8")
    [tree] = re.findall(r'(?s)<div class="sidebar-tree">(.*?)</div>', home)
    found = re.findall(r'href="docs/([\w-]+/[\w-]+)\.html"', tree)
    assert found == listed


@needs_browser
@pytest.mark.parametrize("name", ["prose", "code"])
def test_a_live_model_writes(site, tmp_path, name):
    page = (site / "live-models.html").read_text(encoding="utf-8")
    [source] = re.findall(rf'<iframe [^>]*src="(live/{name}.html#[^"]*)"', page)
    elements = dump(f"{site.as_uri()}/{html.unescape(source)}", tmp_path)
    assert len(text_of(elements, "written")) >= 600
