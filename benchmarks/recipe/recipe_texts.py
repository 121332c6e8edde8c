"""Make the texts of `benchmarks/recipe/recipe_sweep.py`: five kinds, each as one file with its parts in a
seeded order.

    apt-get download python3.11-doc manpages-ru && for file in *.deb; do dpkg-deb -x "$file" extracted; done
    python benchmarks/recipe/recipe_texts.py texts --play shakespeare.txt --novel war-and-peace.txt --extracted extracted

| file | what it contains |
| --- | --- |
| `play.txt`, `novel.txt` | the two given files, line ends as \\n |
| `code.txt` | the `.py` files of this Python's standard library |
| `markup.txt` | the `.html` files of python3.11-doc |
| `russian.txt` | the pages of manpages-ru without their markup |

Each file ends after 16 MB of UTF-8. Nothing of the texts is in the repository; `recipe_sweep.py`
records their digests.
"""

import argparse
import gzip
import random
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 16_000_000
"""Bytes of a text at most."""


def shuffled(paths: Iterator[Path]) -> list[Path]:
    """Sort paths, then shuffle them with a fixed seed: neighbours in a folder are alike."""
    found = sorted(paths)
    random.Random(0).shuffle(found)
    return found


def read_plain(path: Path) -> str:
    """Return a file's text, or nothing if it is not UTF-8; line ends become \\n."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def read_manual_page(path: Path) -> str:
    """Return a compressed manual page without requests, comments and escapes for fonts and
    dashes."""
    source = gzip.decompress(path.read_bytes()).decode("utf-8", errors="ignore")
    lines = (line for line in source.split("\n") if not line.startswith((".", "'")))
    return re.sub(r"\\f(?:\[\w*\]|\(..|.)|\\[&|^]", "", "\n".join(lines)).replace("\\-", "-")


def join(texts: Iterator[str]) -> str:
    """Join texts until MAX_BYTES are reached."""
    parts, size = [], 0
    for text in texts:
        parts.append(text)
        size += len(text.encode())
        if size >= MAX_BYTES:
            break
    return "".join(parts)


def main() -> None:
    """Write the texts that the arguments allow into the given folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where to write the texts")
    parser.add_argument("--play", type=Path, required=True)
    parser.add_argument("--novel", type=Path, required=True)
    parser.add_argument(
        "--extracted", type=Path, required=True, help="the extracted Debian packages"
    )
    arguments = parser.parse_args()
    library = Path(sysconfig.get_path("stdlib"))
    sources = (path for path in library.rglob("*.py") if "site-packages" not in path.parts)
    pages = (path for path in arguments.extracted.rglob("man/ru/*/*.gz") if path.is_file())
    html = (path for path in arguments.extracted.rglob("*.html") if path.is_file())
    texts = {
        "play": iter([read_plain(arguments.play)]),
        "novel": iter([read_plain(arguments.novel)]),
        "code": map(read_plain, shuffled(sources)),
        "markup": map(read_plain, shuffled(html)),
        "russian": map(read_manual_page, shuffled(pages)),
    }
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, parts in texts.items():
        text = join(parts)
        (arguments.folder / f"{name}.txt").write_text(text, encoding="utf-8", newline="\n")
        print(f"{name}: {len(text):,} characters")


if __name__ == "__main__":
    main()
