"""Compare and time texts that a captured graph draws, for gpu_check.py."""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import torch

from benchmarks.gpu.checking import DIVERGED_SHARE, TEXT, VOCAB, Results, Setup, make_trainer
from benchmarks.gpu.graph_sampler import GraphSampler
from charrnn.generation.rules import Rules
from charrnn.generation.sample_options import SampleOptions
from charrnn.generation.sampling import Ids, Rows, prime_model
from charrnn.generation.writing import Ending, WrittenText
from charrnn.model.stepper import Stepper
from charrnn.training.trainer import Trainer


def sampler_of(
    setup: Setup,
    trainer: Trainer,
    num_streams: int,
    *,
    captures: bool = True,
    temperature: float = 0.8,
) -> GraphSampler:
    """Return a sampler of a trainer's weights."""
    shapings = [SampleOptions(temperature=temperature)] * num_streams
    tensors = trainer.averaged.state_dict()
    return GraphSampler(
        trainer.config,
        len(VOCAB),
        tensors,
        shapings,
        setup.device,
        banned=(0,),
        captures=captures,
    )


def check_sampling(setup: Setup, results: Results) -> None:
    """Compare texts that a captured graph draws with those of single operations, and of NumPy."""
    trainer = make_trainer(setup.device, hidden_size=setup.size(128, 48, 16))
    for _ in range(setup.size(50, 20, 4)):
        trainer.take_step()
    length, num_streams = setup.size(400, 100, 40), setup.size(16, 8, 4)
    prime, seeds = VOCAB.encode(TEXT[:100]), list(range(num_streams))
    texts = []
    for captures in (True, False):
        sampler = sampler_of(setup, trainer, num_streams, captures=captures)
        texts.append(
            np.concatenate([block.ids for block in sampler.sample(prime, seeds, length)], axis=1)
        )
    stepper = Stepper(trainer.config, trainer.model_tensors())
    drawn = draw_by_processor(stepper, prime, seeds, length)
    texts.append(np.array([VOCAB.encode(text.take_text()) for text in drawn]))
    kind = "captured graph" if sampler_of(setup, trainer, 1).is_captured else "eager"
    results.check(
        f"sampling: characters that differ, {kind} and eager",
        float((texts[0] != texts[1]).mean()),
        0,
    )
    results.check(
        f"sampling: share of characters that differ, {kind} and NumPy",
        float((texts[0] != texts[2]).mean()),
        DIVERGED_SHARE,
    )


def measure_sampling(setup: Setup, results: Results) -> None:
    """Measure characters per second of 1, 64 and 256 texts: by captured graphs, by single
    operations, and by the loop that `charrnn sample` takes on this machine's processor."""
    size = setup.size(512, 128, 16)
    trainer = make_trainer(setup.device, hidden_size=size, num_layers=2)
    length = setup.size(2048, 96, 32)
    for num_streams in sorted({1, setup.size(64, 64, 8), setup.size(256, 64, 8)}):
        shape = f"2x{size}, {num_streams} texts"
        for captures in (True, False):
            results.phase(f"sampling {shape}")
            sampler = sampler_of(setup, trainer, num_streams, captures=captures)
            if captures and not sampler.is_captured:
                results.skip(f"sampling, captured graph, {num_streams} texts", "no CUDA")
                continue
            drawn = length if captures or setup.is_small else length // 8
            kind = "captured graph" if captures else "eager"
            blocks = partial(sampler.sample, VOCAB.encode("\n"), list(range(num_streams)), drawn)
            rate = num_streams * drawn / median_seconds(blocks)
            results.measure(f"sampling, {kind}, {shape}: characters/s", rate)

        # The same weights in 8 bits, as `charrnn sample` reads them by default.
        stepper = Stepper(trainer.config, trainer.model_tensors(), "int8")
        prime = VOCAB.encode("\n")
        draw = partial(draw_by_processor, stepper, prime, range(num_streams), length)
        rate = num_streams * length / median_seconds(draw)
        threads = torch.get_num_threads()
        name = f"sampling, compiled loop of the processor, {shape}: characters/s"
        results.measure(name, rate, f"{threads} threads")


def draw_by_processor(
    stepper: Stepper, prime: Ids, seeds: Sequence[int], length: int
) -> list[WrittenText]:
    """Draw a text for each seed as `charrnn sample` does."""
    is_banned = np.arange(stepper.vocab_size) == 0
    ending = Ending(length=length, rules=Rules.of(is_banned))
    rows = Rows(
        prime_model(stepper, prime),
        texts=[WrittenText(VOCAB, ending, seed=seed) for seed in seeds],
        ending=ending,
        options=SampleOptions(temperature=0.8),
        num_chars=length * len(seeds),
        num_rows=len(seeds),
    )
    return list(rows.written_texts())


def median_seconds(draw: Callable[[], Iterable[object]]) -> float:
    """Return the median of three draws, after one that compiles."""
    times = []
    for _ in range(4):
        begin = time.perf_counter()
        for _ in draw():
            pass
        times.append(time.perf_counter() - begin)
    return sorted(times[1:])[1]
