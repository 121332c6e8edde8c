"""charrnn train --show-text: the text as it would be read."""

import sys
from collections.abc import Iterator

from charrnn.cli.streams import printable, result_console
from charrnn.config.settings import Config
from charrnn.system.progress import tell
from charrnn.text.corpus import Corpus, read_corpus
from charrnn.text.documents import END


def show_text(config: Config) -> None:
    """Print the text of a configuration as it would be read, with the name of the file before each
    part: to a pipe all of it, to a terminal through a pager."""
    corpus = read_corpus(config, is_for_training=False)
    parts = _shown_parts(corpus)
    if sys.stdout.isatty():
        pager = result_console()
        with pager.pager():
            for part in parts:
                pager.print(printable(part), end="", markup=False, highlight=False)
    else:
        sys.stdout.writelines(parts)
    tell(*corpus.notes)


def _shown_parts(corpus: Corpus) -> Iterator[str]:
    """Yield a line with the name of each file, and the lines that are read of it. The end of a
    document is a line end."""
    shown = None
    ends_line = True
    for file, line in corpus.lines():
        if file != shown:
            # Where a file does not end its last line, the next one begins with a line end.
            if not ends_line:
                yield "\n"
            shown = file
            yield f"--- {file}\n"
            if not ends_line and line.content == "\n":
                ends_line = True
                continue
        content = line.content.replace(END, "\n").encode("utf-8", "replace").decode()
        ends_line = content.endswith("\n")
        yield content
    if not ends_line:
        yield "\n"
