"""Load an exported module by versions of node, by bundlers and in a browser, and print where its text is right.

    python tools/try_module.py                      # all of it, in a few minutes
    python tools/try_module.py --only node          # or bundlers, browser, types, speed
    python tools/try_module.py --nodes 18.20.8 24.21.0

npm installs the versions and the bundlers into a temporary folder. A browser is needed for what is
not node. `docs/use/export.md` says which versions load it, and has the table of speeds.
"""

import argparse
import functools
import http.server
import json
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path

import numpy as np

import charrnn
from charrnn.config.settings import Config
from charrnn.model.shapes import weight_shapes

NODES = (
    *(
        "18.20.8",
        "20.18.3",
        "20.19.6",
        "20.20.2",
        "22.0.0",
        "22.6.0",
        "22.7.0",
        "22.11.0",
        "22.12.0",
    ),
    *("22.14.0", "22.18.0", "22.23.3", "23.0.0", "23.11.1", "24.21.0"),
)
"""Versions of node that are tried: those around each border, and the last ones."""
PACKAGES = (
    *("vite5@npm:vite@5", "vite7@npm:vite@7", "esbuild@0.28", "webpack@5", "webpack-cli@6"),
    *("typescript@5", "terser@5"),
)
"""The bundlers, as npm names them."""
OPTIONS = {"seed": 5, "temperature": 0.7, "length": 60}
"""How the text is drawn."""
ANSWER = "document.body.dataset.answer = JSON.stringify(sample(OPTIONS));"
"""What leaves a text in a page."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 120
"""How long one try may take."""


def ran(call: list[str | Path], folder: Path) -> tuple[bool, str]:
    """Run a program, and return whether it succeeded, and what it printed."""
    done = subprocess.run(call, cwd=folder, capture_output=True, timeout=SECONDS, encoding="utf-8")
    return done.returncode == 0, done.stdout + done.stderr


def first_error(output: str) -> str:
    """Return the line of an output that says what is wrong."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    named = [line.strip() for line in plain.splitlines() if re.search(r"(?i)error", line)]
    return (named or plain.strip().splitlines() or ["no output"])[0][:90]


# Node.


def loaders(folder: Path) -> dict[str, list[str]]:
    """Write a program for each way in which node loads a module, and return the arguments by which
    node runs it."""
    (folder / "package").mkdir()
    (folder / "package" / "package.json").write_text('{"type": "module"}')
    shutil.copy(folder / "names.js", folder / "package" / "names.js")
    used = f"process.stdout.write(JSON.stringify(sample({json.dumps(OPTIONS)})))"
    calls = {}
    for module in ("names.mjs", "names.js", "package/names.js"):
        name = module.replace("/", "-")
        imported = folder / f"import-{name}.mjs"
        imported.write_text(f'import {{ sample }} from "./{module}";\n{used};\n')
        required = folder / f"require-{name}.cjs"
        required.write_text(f'const {{ sample }} = require("./{module}");\n{used};\n')
        calls[f"import {module}"] = [imported.name]
        calls[f"require {module}"] = [required.name]
    return calls


def try_nodes(folder: Path, wanted: str, nodes: list[str]) -> None:
    """Print what each version of node makes of the module, as a table."""
    calls = loaders(folder)
    print("| node |", " | ".join(calls), "|")
    print("| --- |", " | ".join("---" for _ in calls), "|")
    for version in nodes:
        cells = []
        for arguments in calls.values():
            call = ["npx", "--yes", "--package", f"node@{version}", "node", *arguments]
            is_done, output = ran(call, folder)
            text = output.partition("\n(node:")[0]
            is_right = is_done and text.startswith(json.dumps(wanted, ensure_ascii=False))
            cells.append("yes" if is_right else "no")
        print(f"| {version} |", " | ".join(cells), "|", flush=True)


# Browsers.


class Server:
    """Serves a folder on this machine alone."""

    def __init__(self, folder: Path):
        handler = functools.partial(_Quiet, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print no line for each request."""


def answer_of(address: str, folder: Path) -> str:
    """Return what a page leaves as its answer in a browser, or what went wrong there."""
    browser = next(filter(None, map(shutil.which, BROWSERS)))
    call = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder / 'user'}",
    ]
    call += ["--virtual-time-budget=20000", "--enable-logging=stderr", "--dump-dom", address]
    _, output = ran(call, folder)
    answer = re.search(r'data-answer="([^"]*)"', output)
    if answer is None:
        return first_error("\n".join(re.findall(r"CONSOLE.*", output)))
    return str(json.loads(unescape(answer[1])))


def page(program: str) -> str:
    """Return a page with a program, a part of which is a text of JavaScript."""
    return f'<!DOCTYPE html><meta charset="UTF-8"><body>{program}</body>'


def browser_pages() -> dict[str, dict[str, str]]:
    """Return the files of each page that loads the module, `index.html` among them, by what it
    shows."""
    answer = ANSWER.replace("OPTIONS", json.dumps(OPTIONS))
    imported = 'import { sample } from "./names.js";'
    # The clock of a headless browser does not wait for a worker: messages take none of its time.
    waiting = (
        "<script>(async () => { while (!document.body.dataset.answer) await new Promise(done => {"
        "const c = new MessageChannel(); c.port1.onmessage = done; c.port2.postMessage(0); }); })();"
        "</script>"
    )
    kept = "document.body.dataset.answer = JSON.stringify(event.data)"
    posted = f"{imported} postMessage(sample({json.dumps(OPTIONS)}));"
    service = (
        f"{imported} self.addEventListener('message', event => "
        f"event.source.postMessage(sample({json.dumps(OPTIONS)})));"
    )
    registered = (
        "<script>navigator.serviceWorker.register('./worker.js', {type: 'module'})"
        ".then(() => navigator.serviceWorker.ready).then(found => found.active.postMessage(0))"
        ".catch(error => document.body.dataset.answer = JSON.stringify(String(error)));"
        f"navigator.serviceWorker.addEventListener('message', event => {{ {kept} }});</script>"
    )
    return {
        "a page": {"index.html": page(f'<script type="module">{imported} {answer}</script>')},
        "two importers at once": {
            "index.html": page(
                f'<script type="module" src="./one.js"></script>'
                f'<script type="module">{imported} import "./one.js"; {answer}</script>'
            ),
            "one.js": f"{imported} sample();",
        },
        "a module worker": {
            "index.html": page(
                f"{waiting}<script>new Worker('./worker.js', {{type: 'module'}}).onmessage = "
                f"event => {{ {kept} }};</script>"
            ),
            "worker.js": posted,
        },
        "a service worker": {"index.html": page(waiting + registered), "worker.js": service},
    }


def try_browser(folder: Path, wanted: str) -> None:
    """Print in which surroundings a browser writes the text."""
    for name, files in browser_pages().items():
        site = folder / f"site-{name.replace(' ', '-')}"
        site.mkdir()
        shutil.copy(folder / "names.js", site)
        for file, content in files.items():
            (site / file).write_text(content, "utf-8")
        server = Server(site)
        report(f"browser, {name}", answer_of(f"{server.address}/index.html", folder), wanted)
        server.close()


# Bundlers.


def builds() -> Iterator[tuple[str, list[str], str]]:
    """Yield the name of each build, its command, and the file that it makes."""
    for version in ("vite5", "vite7"):
        program = f"node_modules/{version}/bin/vite.js"
        yield (
            f"{version} build",
            ["node", program, "build", "--outDir", version],
            f"{version}/index.html",
        )
    esbuild = ["node_modules/.bin/esbuild", "main.js", "--bundle"]
    for name, flags in (
        ("esbuild", ["--format=esm"]),
        ("esbuild --format=iife", ["--format=iife"]),
        ("esbuild --target=es2020", ["--format=esm", "--target=es2020"]),
        ("esbuild --minify", ["--format=iife", "--minify"]),
    ):
        file = f"{name.replace(' ', '')}.js"
        yield name, [*esbuild, *flags, f"--outfile={file}"], file
    webpack = ["node_modules/.bin/webpack", "./main.js", "--mode", "production", "-o", "packed"]
    yield "webpack 5", webpack, "packed/main.js"


def try_bundlers(folder: Path, wanted: str) -> None:
    """Print which bundlers build a program with the module, whose page then writes the text."""
    imported = 'import { sample } from "./names.js";\n'
    (folder / "main.js").write_text(imported + ANSWER.replace("OPTIONS", json.dumps(OPTIONS)))
    (folder / "index.html").write_text(page('<script type="module" src="./main.js"></script>'))
    install(folder)
    for name, call, file in builds():
        is_done, output = ran(list(call), folder)
        if not is_done:
            report(name, first_error(output), wanted)
            continue
        built = folder / file
        if built.suffix == ".js":
            built = built.with_suffix(".html")
            built.write_text(page(f'<script type="module" src="./{Path(file).name}"></script>'))
        server = Server(built.parent)
        report(name, answer_of(f"{server.address}/{built.name}", folder), wanted)
        server.close()


def install(folder: Path) -> None:
    """Install the bundlers."""
    if not (folder / "node_modules").exists():
        (folder / "package.json").write_text("{}")
        is_done, output = ran(["npm", "install", "--no-audit", "--no-fund", *PACKAGES], folder)
        if not is_done:
            raise SystemExit(output)


def try_types(folder: Path) -> None:
    """Print whether TypeScript finds the declarations, and what it says of a wrong option."""
    install(folder)
    for suffix in ("mjs", "js"):
        kind = {"mjs": "mts", "js": "ts"}[suffix]
        program = folder / f"typed-{suffix}" / f"typed.{kind}"
        program.parent.mkdir()
        (program.parent / "package.json").write_text('{"type": "module"}')
        for file in folder.glob(f"names*.{suffix[:-2]}*"):
            shutil.copy(file, program.parent)
        used = f'import {{ sample }} from "./names.{suffix}";\nconst text: string = sample({{ seed: 1 }});\n'
        program.write_text(f"{used}console.log(text);\nsample({{ temp: 1 }});\n")
        flags = ["--strict", "--module", "nodenext", "--noEmit"]
        _, output = ran(["node_modules/.bin/tsc", *flags, program], folder)
        print(f"tsc --strict --module nodenext, names.{suffix}: {first_error(output)}", flush=True)


# Sizes and times.


UNITS = (64, 128, 256, 512, 1024)
"""Units of the LSTMs of one layer whose modules are measured."""
ROUNDS = 5
"""How often each is measured; the shortest time counts, because another process only adds to it."""
TIMED = """
const used = () => (process.cpuUsage().user + process.cpuUsage().system) / 1000;
const begin = used();
const { sample } = await import("./timed.mjs");
const loading = used() - begin;
sample({ seed: 1, length: 500 });
const times = [];
for (let seed = 2; seed < 5; seed++) {
  const before = used();
  sample({ seed, length: 1000 });
  times.push((used() - before) / 10);
}
process.stdout.write(JSON.stringify([loading, Math.min(...times)]));
"""
"""Prints the milliseconds of the processor for loading, and for 100 characters."""


def made_model(units: int) -> charrnn.Model:
    """Return a model with the alphabet of `prose` and random weights, spread as trained ones are."""
    vocab = charrnn.load("prose").vocab
    config = Config(cell_type="lstm", num_layers=1, hidden_size=units, embedding_size=units // 2)
    generator = np.random.default_rng(1)
    tensors = {}
    for name, shape in weight_shapes(config, len(vocab)).items():
        tensors[name] = (generator.normal(size=shape) / np.sqrt(units)).astype(np.float32)
    return charrnn.Model(config, vocab, tensors)


def time_modules(folder: Path) -> None:
    """Print the size of modules, and the shortest times of loading one and of writing in node: of the
    processor, which other processes change less than those of a clock."""
    (folder / "timed-program.mjs").write_text(TIMED)
    print("| units | kB | ms to load | ms for 100 characters |")
    print("| --- | --- | --- | --- |")
    for units in UNITS:
        path = made_model(units).export(folder / "timed.mjs", force=True)
        found = []
        for _ in range(ROUNDS):
            _, output = ran(["node", "timed-program.mjs"], folder)
            found.append(json.loads(output))
        loading, writing = map(min, zip(*found, strict=True))
        size = path.stat().st_size / 1000
        print(f"| {units} | {size:,.0f} | {loading:.0f} | {writing:.1f} |", flush=True)


def report(name: str, found: str, wanted: str) -> None:
    """Print whether a text is the one that the command writes, or what was found in its place."""
    print(f"{name}: {'right' if found == wanted else found}", flush=True)


def main() -> None:
    """Try what the command line names."""
    tries: dict[str, Callable[[Path, str], None]] = {
        "bundlers": try_bundlers,
        "browser": try_browser,
        "types": lambda folder, _: try_types(folder),
        "speed": lambda folder, _: time_modules(folder),
    }
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=("node", *tries), help="try this alone")
    parser.add_argument("--nodes", nargs="+", default=NODES, help="versions of node")
    options = parser.parse_args()
    model = charrnn.load("prose")
    wanted = model.sample(**OPTIONS).text
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.export(folder / "names.mjs")
        model.export(folder / "names.js")
        if options.only in (None, "node"):
            try_nodes(folder, wanted, list(options.nodes))
        for kind, attempt in tries.items():
            if options.only in (None, kind):
                attempt(folder, wanted)


if __name__ == "__main__":
    main()
