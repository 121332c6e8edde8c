"""Measure the pages of `charrnn export model.html`: their size, and characters per second in node
and in a browser.

    python benchmarks/files/model_page.py            # normally distributed weights, alphabet of 100 characters
    python benchmarks/files/model_page.py --run RUN  # a trained run instead

node: the network alone, after 500 characters that do not count; needs `node`. browser: the whole
page with its colours, from a click on Generate, in a headless chromium; the page reports to a
server on this machine, because the browser's own clock stands still while it is dumped. Both are
the fastest of REPEATS texts, because other programs only slow them down. seconds: from opening the
page until it is ready.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import numpy as np

import charrnn
from benchmarks.measuring import Report, make_parser
from charrnn.api import Model
from charrnn.config.settings import Config
from charrnn.model.shapes import weight_shapes
from charrnn.text.vocab import Vocab

SHAPES = (("lstm", 1, 256), ("lstm", 1, 512), ("gru", 1, 512), ("lstm", 2, 512))
REPEATS = 10
LENGTH = 500
"""Characters of each text."""
PATIENCE_SECONDS = 120
"""Time that a browser has for all of its texts."""
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
NODE = shutil.which("node")
IN_NODE = """
unpackArrays(model, weights).then(arrays => {
  const network = new Network(model, arrays), alphabet = new Alphabet(model), state = network.initialState();
  const logits = new Float32Array(network.vocabSize);
  network.step(model.start_id, state, logits);
  const write = length => {
    const writer = new Writer(network, alphabet, {state, logits, temperature: 1, seed: 1, length});
    const began = performance.now();
    while (!writer.isDone) writer.next();
    return 1000 * length / (performance.now() - began);
  };
  write(500);
  console.log(JSON.stringify(Array.from({length: REPEATS}, () => write(LENGTH))));
});"""
IN_BROWSER = """
(async () => {
  while (!network || !start) await pause();
  const rates = [], opened = performance.now();
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    byId("length").value = LENGTH;
    const began = performance.now();
    await write();
    rates.push(1000 * LENGTH / (performance.now() - began));
  }
  await fetch("/rates", {method: "POST", body: JSON.stringify([opened, ...rates])});
})();"""


def make_model(cell: str, num_layers: int, hidden_size: int) -> Model:
    """Build a model whose weights are normally distributed, nearly as those of a trained one."""
    config = Config(cell=cell, num_layers=num_layers, hidden_size=hidden_size, embedding_size=64)
    vocab, generator = Vocab("char", ("", *map(chr, range(32, 131)))), np.random.default_rng(0)
    tensors: dict[str, Any] = {
        name: (0.1 * generator.standard_normal(shape)).astype(np.float32)
        for name, shape in weight_shapes(config, len(vocab)).items()
    }
    return Model(config, vocab, tensors, name=f"{cell} {num_layers}x{hidden_size}")


def filled(script: str) -> str:
    """Return a script with its numbers."""
    return script.replace("REPEATS", str(REPEATS)).replace("LENGTH", str(LENGTH))


def rate_in_node(page: str, folder: Path) -> float | None:
    """Return characters per second of the network in node; None without node."""
    if NODE is None:
        return None

    def part(begin: str) -> str:
        return page.split(begin, 1)[1].split("</script>")[0]

    network, model, weights = map(part, ("<script>", 'id="model">', 'id="weights">'))
    program = f"{network}\nconst model = {model}, weights = {json.dumps(weights)};{filled(IN_NODE)}"
    (folder / "program.js").write_text(program, encoding="utf-8")
    ran = subprocess.run([NODE, folder / "program.js"], capture_output=True, check=True)
    return max(map(float, json.loads(ran.stdout)))


def rate_in_browser(page: str, folder: Path) -> tuple[float | None, float | None]:
    """Return characters per second of the whole page and the seconds until it is ready; None
    without a browser."""
    if BROWSER is None:
        return None, None
    begin, end = page.index('<meta http-equiv="Content-Security-Policy"'), page.index("<title>")
    measured = (page[:begin] + page[end:]).replace(
        "</body>", f"<script>{filled(IN_BROWSER)}</script></body>"
    )
    answers: Queue[list[float]] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(measured.encode("utf-8"))

        def do_POST(self) -> None:
            answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--remote-debugging-port=0",
        )
        address = f"http://127.0.0.1:{server.server_port}/"
        command = [BROWSER, *flags, f"--user-data-dir={folder / 'user'}", address]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as browser:
            try:
                ready, *rates = answers.get(timeout=PATIENCE_SECONDS)
            except Empty:
                sys.exit(f"the browser did not answer within {PATIENCE_SECONDS} seconds")
            finally:
                browser.terminate()
        server.shutdown()
    return max(rates), ready / 1000


def main() -> None:
    """Print the machine and the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--run", help="a trained run")
    arguments = parser.parse_args()
    models = (
        [charrnn.load(arguments.run)] if arguments.run else [make_model(*shape) for shape in SHAPES]
    )
    report = Report("model_page", as_json=arguments.json, with_limits=False)
    for model in models:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            folder = Path(name)
            path = model.export(folder / "page.html")
            page = path.read_text(encoding="utf-8")
            in_browser, ready = rate_in_browser(page, folder)
            report.add(
                model=model.description.architecture,
                vocab=len(model.vocab),
                megabytes=path.stat().st_size / 1e6,
                node=rate_in_node(page, folder),
                browser=in_browser,
                seconds=ready,
            )
    report.close()


if __name__ == "__main__":
    main()
