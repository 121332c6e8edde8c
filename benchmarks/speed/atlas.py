"""Measure how long everything about every cell takes, how much memory, and how large the exported
files are.

    python benchmarks/speed/atlas.py                       # 1x512 over 131,072 characters, initial weights
    python benchmarks/speed/atlas.py --run checkpoints/wp  # a trained run over its held-out text
    python benchmarks/speed/atlas.py --different 2860      # a generated text with an alphabet of 2,860 characters

The first call measures, part by part; the second takes all but the values from the findings saved
in a run, in a temporary folder; neither counts loading the program. On a machine that does other
work, too, `OMP_NUM_THREADS=1` gives CPU seconds that hardly depend on it. Then the page and the
.json that `visualize --export` writes.
"""

import os
import random
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import charrnn
from benchmarks.measuring import Report, make_parser
from charrnn.analyses.atlas import page_of
from charrnn.api import Model
from charrnn.cells.findings_cache import FindingsCache
from charrnn.cli.analyses import NoOptions, Subject, VisualizeOptions
from charrnn.commands.visualize import analyses
from charrnn.commands.visualize_findings import FoundCells
from charrnn.config.settings import Config
from charrnn.detectors.registry import get_detectors
from charrnn.model.network import CharRNN
from charrnn.model_study import ModelStudy
from charrnn.text.vocab import UNKNOWN, EncodedText, Vocab
from charrnn.views.delivery import FORMATS

WORDS = (
    "the",
    "mill",
    "stood",
    "by",
    "a",
    "river",
    "and",
    "Anna",
    "said",
    "NOTHING",
    "of",
    "it",
    "in",
    "1812",
    "wheel",
)
ENDS = (" ", " ", " ", ", ", ". ", ".\n", '," he said, "', ' (in "May") ', "; ", "!\n\n")
PARTS = ("findings", "descriptions", "inputs", "outputs")
"""Methods of a study that an atlas is composed of, besides the values."""


def make_text(num_chars: int) -> str:
    """Return so many characters of sentences with capitals, numbers, quotations and lines."""
    draw = random.Random(0)
    parts = [f"{draw.choice(WORDS)}{draw.choice(ENDS)}" for _ in range(num_chars // 3)]
    return "".join(parts)[:num_chars]


def make_chinese_text(num_chars: int, num_different: int) -> str:
    """Generate lines of 30 Chinese characters whose frequencies follow Zipf's law."""
    generator = np.random.default_rng(0)
    weights = 1 / np.arange(3, num_different + 3)
    drawn = generator.choice(num_different, num_chars, p=weights / weights.sum())
    return "".join(
        "\n" if place % 31 == 30 else chr(0x4E00 + number) for place, number in enumerate(drawn)
    )


def make_model(text: str, num_layers: int, hidden_size: int) -> Model:
    """Build a model with initial weights."""
    config = Config(cell="lstm", num_layers=num_layers, hidden_size=hidden_size, embedding_size=64)
    vocab = Vocab("char", (UNKNOWN, *sorted(set(text))))
    network = CharRNN(config, len(vocab))
    return Model(
        config, vocab, {name: value.numpy() for name, value in network.state_dict().items()}
    )


def start_study(model: Model, text: EncodedText, folder: Path) -> ModelStudy:
    """Return a study whose findings are saved in `folder`."""
    study = model.study(text)
    os.environ["CHARRNN_CACHE"] = str(folder)
    cache = FindingsCache("benchmark")
    return ModelStudy(
        text=study.text,
        num_layers=study.num_layers,
        num_units=study.num_units,
        network=study.network,
        untrained_baseline=study.untrained_baseline,
        cache=cache,
    )


def export(model: Model, text: EncodedText, found: FoundCells, suffix: str) -> int:
    """Return the bytes of the file that `visualize --export` writes."""
    findings = analyses()[0]
    subject = Subject(
        model=model,
        content="",
        context="",
        text=text,
        num_available=len(text),
        whole=text,
        options=VisualizeOptions(export=Path("atlas").with_suffix(suffix)),
        own=NoOptions(),
        detectors=[],
    )
    return len(FORMATS[suffix].write(findings.show(subject, found)))


def peak_gib() -> float:
    """Return the peak memory of this process in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def since(begin: tuple[float, float]) -> dict[str, float]:
    """Return the wall seconds and the processor seconds since a reading of both clocks."""
    return {
        "seconds": time.perf_counter() - begin[0],
        "cpu_seconds": time.process_time() - begin[1],
    }


def main() -> None:
    """Report the seconds of each part, of both calls, and the sizes of the files."""
    parser = make_parser(__doc__)
    parser.add_argument("--run")
    parser.add_argument("--chars", type=int, default=131_072)
    parser.add_argument(
        "--different", type=int, help="generate a text with an alphabet of this size"
    )
    parser.add_argument("--num-layers", type=int, default=1)
    parser.add_argument("--hidden-size", type=int, default=512)
    arguments = parser.parse_args()
    if arguments.run:
        model = charrnn.load(arguments.run)
        whole, context = model.held_out_text()
        text = model.encode(whole[: arguments.chars], context=context)
    else:
        written = (
            make_chinese_text(arguments.chars, arguments.different)
            if arguments.different
            else make_text(arguments.chars)
        )
        model = make_model(written, arguments.num_layers, arguments.hidden_size)
        text = model.encode(written)
    report = Report("atlas", as_json=arguments.json)
    with tempfile.TemporaryDirectory() as folder:
        study = start_study(model, text, Path(folder))
        before, begin = peak_gib(), (time.perf_counter(), time.process_time())
        for part in ("activations", *PARTS):
            started = time.perf_counter(), time.process_time()
            measured = getattr(study, part)
            if part != "activations":
                measured()
            report.add(part=part, **since(started), most_memory_gib=peak_gib())
        study.atlas()
        report.add(
            part="everything", **since(begin), most_memory_gib=peak_gib(), memory_before_gib=before
        )
        begin = time.perf_counter(), time.process_time()
        atlas = start_study(model, text, Path(folder)).atlas()
        report.add(part="second call", **since(begin), most_memory_gib=peak_gib())
    found = FoundCells(atlas.findings, atlas=atlas)
    page = page_of(atlas, model, study, title="", detectors=get_detectors(None))
    for suffix, shows in ((".html", replace(found, page=page)), (".json", found)):
        begin = time.perf_counter(), time.process_time()
        size = export(model, text, shows, suffix)
        report.add(part=suffix, **since(begin), megabytes=size / 1e6)
    report.close()


if __name__ == "__main__":
    main()
