"""The configuration of Sphinx for the site (tools/make_site.py)."""

import re

from sphinx.errors import ExtensionError

project = "charrnn"
author = "the authors of charrnn"
root_doc = "README"
include_patterns = ["*.md", "*.rst", "docs/**.md", "benchmarks/**.md"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
highlight_language = "none"

# Markdown as GitHub reads it: every heading can be linked to.
myst_heading_anchors = 6
myst_enable_extensions = ["attrs_inline", "html_image"]

# Docstrings: `name` is code.
default_role = "literal"
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

smartquotes = False  # "--temp" is no dash

html_theme = "furo"
html_title = "charrnn"
html_static_path = ["style.css"]
html_css_files = ["style.css"]
templates_path = ["."]
html_copy_source = False
html_use_index = False
html_show_copyright = False
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "version.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
pygments_style = "friendly"
pygments_dark_style = "github-dark"

PICTURE = re.compile(
    r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)">\s*'
    r'<img alt="([^"]+)" src="([^"]+)">\s*</picture>'
)
"""A picture with a dark variant, as GitHub shows it."""


def show_pictures(app, docname, content):
    """Show the variant of a picture that fits the colours chosen in the site, not in the system."""
    del app
    variants = r"![\2](\3){.only-light}![\2](\1){.only-dark}"
    content[0] = PICTURE.sub(variants, content[0])
    if "<picture>" in content[0]:
        raise ExtensionError(f"{docname}: a picture is not written as the others are")


def setup(app):
    """Tell Sphinx about the pictures."""
    app.connect("source-read", show_pictures)
