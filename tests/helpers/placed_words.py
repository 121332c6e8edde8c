"""Write files in which each word occurs once, and find the lines of the words by grep."""

import re
import subprocess
import textwrap

import numpy as np

WORD = re.compile(r"w\d+")


def write_texts(folder, kind, seed):
    """Write two files of that kind in which each word occurs once, with line ends in values, blank
    lines, and paragraphs that are wrapped."""
    rng = np.random.default_rng(seed)
    words = iter(range(10**6))

    def text(num_lines):
        lines = []
        for _ in range(num_lines):
            line = " ".join(f"w{next(words)}é." for _ in range(rng.integers(1, 12)))
            lines.append(line + " " * rng.integers(0, 2))
        return "\n".join(lines)

    def blank():
        return "".join(rng.choice(["", " ", "\t", "\u00a0", "\u3000"]) + "\n" for _ in range(3))

    for name in ("a", "b"):
        content = "id,text\n" if kind.endswith("csv") else ""
        for number in range(12):
            value = text(rng.integers(1, 5))
            if kind == "csv":
                content += f'"no\n{number}","{rng.choice(["", chr(10)])}{value}"\n'
            elif kind == "cr.csv":
                content += f'{number},"{value.replace(chr(10), chr(13))}"\n'
            elif kind == "jsonl":
                content += '{"text": "' + value.replace("\n", "\\n") + '"}\n'
            else:
                # Wrapped lines with a blank at their ends, which --join-lines joins, and a dash.
                first, *rest = textwrap.wrap(" ".join(f"w{next(words)}é" for _ in range(60)), 70)
                rest[0] += "—"
                content += "\n".join((value, "", f"{first} ", *rest, rng.choice(["", blank()])))
        (folder / f"{name}.{kind}").write_text(content, "utf-8", newline="")


def lines_by_grep(folder):
    """Return the file and the line of each word."""
    files = sorted(map(str, folder.iterdir()))
    found = subprocess.run(
        ["grep", "-Hnoa", r"w[0-9]\+", *files], capture_output=True, text=True, check=True
    )
    lines = {}
    for match in found.stdout.splitlines():
        file, line, word = match.split(":")
        lines[word] = (file, int(line))
    return lines
