"""Check that a compressed file opens on every machine: compress 30 files on one, restore them on
others, in a page too.

    python benchmarks/files/portable.py                    # a new model of 1x32, a large file of 10 MB; about 15 minutes
    python benchmarks/files/portable.py --run RUN --megabytes 1

The files are generated, but for the source of the standard library: words of twelve scripts, code,
tables, text with a byte order mark, characters that no alphabet has, what is no UTF-8, binary data,
random bytes, the empty file. The large file is source, its functions shuffled.

Machines are imitated: other instructions in compiled code (NUMBA_CPU_NAME, NUMBA_CPU_FEATURES),
lesser ones in PyTorch and NumPy, one thread, no numba. Each machine restores all files of the first
one, and compresses all files; those without numba do not compress the large one. The page of
`charrnn export` restores all in node, and in chromium all but the large one. A row has the number
of files that came back with the same SHA-256, that of compressed files with the same bytes as the
first machine's, and the seconds. The exit code is 1 if a file differs.
"""

import argparse
import base64
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from html import unescape
from pathlib import Path

from benchmarks.measuring import Report, make_parser

FIRST, LARGE = "this", "00-large"
WITHOUT_NUMBA = ("no numba, NumPy baseline, 1 thread",)
MACHINES: dict[str, dict[str, str]] = {
    FIRST: {},
    "sse2": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"},
    "no vectors, AVX2 in torch": {
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "OMP_NUM_THREADS": "1",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
    },
    WITHOUT_NUMBA[0]: {"NPY_DISABLE_CPU_FEATURES": "ALL", "OMP_NUM_THREADS": "1"},
}
"""Environment of each machine; ALL stands for the optional instructions of this NumPy."""
SCRIPTS = """
latin 97 122, umlauts 192 382, greek 945 969, cyrillic 1072 1103, hebrew 1488 1514, arabic 1569 1610,
devanagari 2309 2361, thai 3585 3630, kana 12353 12438, hangul 44032 44600, han 19968 20500, emoji 128512 128591
"""
"""Each with its first and last letter."""
CHILD = """
import sys
if sys.argv[1] == "without": sys.modules["numba"] = sys.modules["llvmlite"] = None
else: from charrnn.compiled.dot_products import CHOSEN; print("instructions", CHOSEN.name)
from charrnn.cli.app import run
sys.exit(run(sys.argv[2:]))
"""
NODE = """
const {createHash} = require("node:crypto"), {readFileSync} = require("node:fs");
const restored = (name, data) => {
  const steps = decompress(network, model, name, data), hash = createHash("sha256");
  let step;
  while (!(step = steps.next()).done);
  step.value.forEach(row => hash.update(row));
  return hash.digest("hex");
};
unpackArrays(model, WEIGHTS).then(arrays => {
  globalThis.network = new Network(model, arrays);
  process.stdout.write(JSON.stringify(NAMES.map(name => restored(name, new Uint8Array(readFileSync(name))))));
});"""
BROWSER = """
(async () => {
  await new Promise(resolve => setTimeout(resolve, 500));
  document.body.dataset.answer = JSON.stringify(FILES.map(file => {
    const steps = decompress(network, model, "it", Uint8Array.from(atob(file), one => one.charCodeAt(0)));
    let step;
    while (!(step = steps.next()).done);
    return btoa(step.value.map(row => Array.from(row, byte => String.fromCharCode(byte)).join("")).join(""));
  }));
})();"""


def make_files(folder: Path, num_large: int) -> list[str]:
    """Write the 30 files, the large one first, so that compiled code is there for the others;
    return their names."""
    draw = random.Random(1)
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("[a-z]*.py")) * 4
    functions = b"".join(path.read_bytes() for path in sources).split(b"\ndef ")
    draw.shuffle(functions)
    code = b"\ndef ".join(functions)
    files = {LARGE: code[:num_large]}
    for name, *letters in map(str.split, SCRIPTS.split(",")):
        words = [
            "".join(chr(draw.randint(*map(int, letters))) for _ in range(draw.randrange(1, 9)))
            for _ in range(300)
        ]
        files[name] = "".join(
            draw.choice(words) + draw.choice(" \n, ") for _ in range(2_500)
        ).encode()
    lines = code[-60_000:].splitlines()
    files |= {
        "source": code[-60_000:],
        "crlf-bom": b"\xef\xbb\xbf" + b"\r\n".join(lines[:600]),
        "empty": b"",
    }
    files |= {
        "one-letter": b"a",
        "one-byte": b"\xff",
        "newline": b"\n",
        "one-line": b" ".join(lines[:400]),
    }
    files |= {
        "unknown-only": "\ue000\U000f0000\u0378".encode() * 2_000,
        "utf-16": code[:9_000].decode().encode("utf-16"),
    }
    files |= {
        "table": b"".join(
            b"%d;%.4f;%s\n" % (i, draw.gauss(0, 9), draw.randbytes(2).hex().encode())
            for i in range(2_000)
        )
    }
    files |= {
        "log": b"".join(b'{"time": %d, "level": "info"}\n' % (10**9 + 7 * i) for i in range(1_500))
    }
    files |= {
        "cut-utf-8": files["han"][:-1],
        "invalid-utf-8": b"a\xc0\xaf\xed\xa0\x80\xf8\xe2\x82 " * 1_500,
    }
    files |= {
        "zeros": bytes(40_000),
        "every-byte": bytes(range(256)) * 80,
        "random": draw.randbytes(100_000),
    }
    files |= {"binary": b"".join(i.to_bytes(4, "little") for i in range(9_000))}
    assert len(files) == 30, len(files)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return list(files)


def call(machine: str, folder: Path, *arguments: str) -> str:
    """Run a command of charrnn on an imitated machine; return the instructions of its compiled
    code."""
    from numpy._core._multiarray_umath import __cpu_dispatch__  # type: ignore[import-not-found]

    settings = {
        name: value.replace("ALL", " ".join(__cpu_dispatch__))
        for name, value in MACHINES[machine].items()
    }
    word = "without" if machine in WITHOUT_NUMBA else "with"
    command = [sys.executable, "-c", CHILD, word, *arguments, "--quiet"]
    output = subprocess.run(
        command, cwd=folder, env={**os.environ, **settings}, stdout=subprocess.PIPE, check=True
    ).stdout
    found = re.match(rb"instructions (\S+)", output)
    return found[1].decode() if found else "none"


def digests(folder: Path, names: list[str]) -> list[str]:
    """Return the SHA-256 of files; "" for one that does not exist."""
    paths = [folder / name for name in names]
    return [
        hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "" for path in paths
    ]


def check_page(
    report: Report, page: str, folder: Path, names: list[str], expected: dict[str, str]
) -> bool:
    """Restore the files by the programs of a page, in node and in chromium; return whether all are
    the same."""
    programs, is_same = re.findall(r"(?s)<script>(.*?)</script>", page)[:2], True
    model, weights = (
        re.search(rf'(?s)id="{one}"[^>]*>(.*?)</script>', page)[1] for one in ("model", "weights")
    )  # type: ignore[index]
    for place in filter(shutil.which, ("node", "chromium")):
        started, some = time.perf_counter(), names if place == "node" else names[1:]
        if place == "node":
            script = NODE.replace("WEIGHTS", json.dumps(weights)).replace(
                "NAMES", json.dumps([f"{name}.crnn" for name in some])
            )
            (folder / "program.js").write_text(
                f"{programs[0]}\n{programs[1]}\nconst model = {model};\n{script}"
            )
            output = subprocess.run(
                ["node", "program.js"], cwd=folder, stdout=subprocess.PIPE, check=True
            ).stdout
            found = json.loads(output)
        else:
            data = [
                base64.b64encode((folder / f"{name}.crnn").read_bytes()).decode() for name in some
            ]
            html = re.sub("<meta http-equiv[^>]*>", "", page)
            html = html.replace(
                "</body>", f"<script>{BROWSER.replace('FILES', json.dumps(data))}</script></body>"
            )
            (folder / "page.html").write_text(html, encoding="utf-8")
            flags = [
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={folder / 'user'}",
            ]
            command = [
                place,
                *flags,
                "--virtual-time-budget=9000",
                "--dump-dom",
                (folder / "page.html").as_uri(),
            ]
            output = subprocess.run(command, capture_output=True, check=True).stdout
            answer = re.search(r'data-answer="([^"]*)"', output.decode())
            texts = json.loads(unescape(answer[1])) if answer else []
            found = [hashlib.sha256(base64.b64decode(text)).hexdigest() for text in texts]
        num_same = sum(one == expected[name] for one, name in zip(found, some, strict=False))
        is_same &= num_same == len(some)
        seconds = round(time.perf_counter() - started)
        report.add(
            machine=place,
            instructions=None,
            files=len(some),
            restored=num_same,
            compressed=None,
            seconds=seconds,
        )
    return is_same


def main() -> int:
    """Compress and restore on each machine, and compare."""
    parser: argparse.ArgumentParser = make_parser(__doc__)
    parser.add_argument(
        "--run", type=Path, help="a trained run; default: one of 1x32 is trained on the source"
    )
    parser.add_argument("--megabytes", type=float, default=10, help="of the large file")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[*MACHINES, "page"],
        help="default: all; the first one is always there",
    )
    arguments = parser.parse_args()
    chosen, is_same = arguments.only or [*MACHINES, "page"], True
    report = Report("portable", as_json=arguments.json, with_limits=False)
    with tempfile.TemporaryDirectory(prefix="charrnn-portable-") as temporary:
        top = Path(temporary)
        (source := top / "files").mkdir()
        names = make_files(source, int(arguments.megabytes * 1e6))
        expected = dict(zip(names, digests(source, names), strict=True))
        run = str(arguments.run.resolve() if arguments.run else top / "run")
        if not arguments.run:
            size = ("--steps", "100", "--hidden-size", "32", "--layers", "1")
            call(
                FIRST,
                top,
                "train",
                str(source / "source"),
                str(source / LARGE),
                *size,
                "--out",
                run,
            )
        for machine in [FIRST, *(one for one in MACHINES if one in chosen and one != FIRST)]:
            started, folder = time.perf_counter(), top / machine
            folder.mkdir()
            some = names[machine in WITHOUT_NUMBA :]
            for name in some:
                (folder / name).symlink_to(source / name)
            instructions = call(machine, folder, "compress", run, *some)
            compressed = [f"{name}.crnn" for name in names]
            same = [
                a == b
                for a, b in zip(
                    digests(folder, compressed), digests(top / FIRST, compressed), strict=True
                )
            ]
            for name in names:
                (folder / name).unlink(missing_ok=True)
                if machine != FIRST:
                    shutil.copy(top / FIRST / f"{name}.crnn", folder / f"{name}.crnn")
            call(machine, folder, "decompress", run, *compressed)
            num_same = sum(
                digest == expected[name]
                for name, digest in zip(names, digests(folder, names), strict=True)
            )
            is_same &= num_same == len(names) and sum(same) == len(some)
            figures = {"files": len(names), "restored": num_same, "compressed": sum(same)}
            report.add(
                machine=machine,
                instructions=instructions,
                **figures,
                seconds=round(time.perf_counter() - started),
            )
        if "page" in chosen:
            call(FIRST, top, "export", run, "page.html")
            is_same &= check_page(
                report, (top / "page.html").read_text("utf-8"), top / FIRST, names, expected
            )
    report.close()
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
