"""The main line of three commands is as short as README and docs/understand/code.md promise."""

import re
import sys
from pathlib import Path

import pytest

import charrnn

PACKAGE = Path(charrnn.__file__).parent
PAGE = PACKAGE.parent / "docs" / "understand" / "code.md"
BESIDE = ("cli/", "distributed/", "system/", "model/device.py")
"""What runs the main line: in a terminal, on threads, in several processes."""
ROW = re.compile(r"^\| `(\w+)` \| (\d+): (.*) \|$", re.MULTILINE)
"""A row of the table of the page: the command, and its files."""
ENDS = {
    "train": (
        "text/corpus.py read_corpus",
        "model/layer.py RecurrentLayer.forward",
        "training/optim.py Muon.step",
        "runs/writer.py RunWriter.save_checkpoint",
    ),
    "sample": (
        "commands/sample_output.py print_text",
        "generation/distribution.py char_weights",
        "generation/sampling.py draw",
        "generation/writing.py WrittenText.add",
        "model/cell_types.py Lstm.step",
    ),
    "visualize": (
        "cells/trace.py read_windows",
        "cells/choosing_half.py ChoosingHalf.choose",
        "cells/scores.py score_choice",
        "cells/passages.py choose_passage",
        "views/passages.py passage_pictures",
        "views/heatmap.py HeatMap.__rich_console__",
    ),
}
"""Where something happens: the file and the function."""
MOST_FILES = {"train": 10, "sample": 7, "visualize": 10}


WAYS = {"A weight that changes": ("Muon.step", 11), "A loss that is compared": ("iter_losses", 3)}
"""Ways of the page, by their titles: a function, and the number of files that the page promises up to
it."""


@pytest.mark.parametrize("title", WAYS)
def test_the_way_of_the_page_visits_no_more_files_than_it_says(title):
    function, number = WAYS[title]
    section = PAGE.read_text(encoding="utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]
    assert f"the way visits {number} files" in section
    visited = section[: section.index(f"`{function}`")]
    assert len(set(re.findall(r"`([\w/]+\.py):\d+`", visited))) == number


def file_of(frame):
    """Return the file of a frame below the package, "" for one of a library."""
    path = Path(frame.f_code.co_filename)
    return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else ""


def called_by(frame):
    """Return the files of a frame and of all that called it."""
    files = []
    while frame is not None:
        files.append(file_of(frame))
        frame = frame.f_back
    return files


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not know a code's class")
@pytest.mark.parametrize("name", ENDS)
def test_the_main_line_has_the_files_that_the_page_lists(command, lab, corpus, corpus_file, name):
    Path("short.txt").write_text(corpus.text[:6_000], encoding="utf-8")
    words = {
        "train": ("train --steps 2 --hidden-size 8 --set optimizer=muon", corpus_file),
        "sample": ("sample --length 20 --seed 1", lab),
        "visualize": ("visualize --recompute --text short.txt", lab),
    }
    start = f"commands/{name}.py"
    ways = {end: set() for end in ENDS[name]}
    functions = {end.split()[1] for end in ENDS[name]}

    def watch(frame, event, _):
        # It is asked millions of times: most calls are none of these functions.
        if event != "call" or frame.f_code.co_qualname not in functions:
            return
        end = f"{file_of(frame)} {frame.f_code.co_qualname}"
        if end in ways:
            files = [file for file in called_by(frame) if file and not file.startswith(BESIDE)]
            if start in files:
                ways[end].add(frozenset(files[: len(files) - files[::-1].index(start)]))

    sys.setprofile(watch)
    try:
        ran = command(*words[name])
    finally:
        sys.setprofile(None)
    assert ran.code == 0

    rows = {row[1]: row for row in ROW.finditer(PAGE.read_text(encoding="utf-8"))}
    _, number, listed = rows[name].groups()
    files = set(re.findall(r"`(.*?)`", listed))
    assert len(files) == int(number) <= MOST_FILES[name]
    main_line = {end: [way for way in found if way <= files] for end, found in ways.items()}
    assert all(main_line.values()), main_line
    assert frozenset().union(*(way for found in main_line.values() for way in found)) == files
