"""Histories of commands: a state machine whose rules are commands, each with the refusals that are
right in the state of the world."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

from every_option import BASES, EXAMPLES, FORMATS
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from world import (
    SURROUNDINGS,
    TERMINALS,
    Made,
    Mishap,
    World,
    differences,
    steps_of,
    whole_checkpoints,
)

from charrnn.config.architectures import (
    CELL_DESCRIPTIONS,
    DEPTH_DESCRIPTIONS,
    OPTIMIZER_DESCRIPTIONS,
)
from charrnn.runs.reader import RunReader
from charrnn.runs.writer import lock_folder

TEXTS = {
    "prose.txt": ("", "--alphabet byte", "--alphabet exact", "--split 80/10/10"),
    "names.txt": ("--documents lines", "--documents blank-lines", ""),
    "poems.csv": ("--column poem", ""),
    "bytes.txt": ("--alphabet byte", ""),
    "two.txt": ("",),
}
"""How each text may be read."""
EXTRAS = (
    "",
    "dropout=0.3 reset_probability=0.3",
    "num_members=2",
    "embedding_size=one-hot",
    "weight_average=0.9",
    "input_dropout=0.2 weight_drop=0.2",
)
"""Settings of some runs besides their cell and depth."""
PRIMES = {"prose.txt": "ab", "names.txt": "Ann", "poems.csv": "ab", "bytes.txt": "zäb"}
PRIMES["two.txt"] = "ab"


def command_lines() -> Iterator[str]:
    """Yield command lines with each option of the commands that look at a run."""
    for command in ("sample", "visualize", "evaluate", "runs", "predict"):
        for example in chain.from_iterable(EXAMPLES[command].values()):
            if example.startswith(command):
                yield example
            else:
                yield f"{BASES[command]} {example}"


LINES = [*command_lines()]

number = st.integers(0, 5)
surroundings = st.sampled_from([*SURROUNDINGS])
moments = st.one_of(st.integers(1, 3_000), st.integers(1, 60_000))
mishaps = st.one_of(
    st.just(Mishap()),
    st.just(Mishap("none")),
    st.just(Mishap("none", 1)),
    st.builds(
        Mishap, st.sampled_from(["disk full", "disk broken", "disk killed"]), st.integers(1, 120)
    ),
    st.builds(Mishap, st.just("kill"), moments),
    st.builds(
        Mishap,
        st.just("signal"),
        moments,
        st.sampled_from(
            [
                (signal.SIGINT,),
                (signal.SIGTERM,),
                (signal.SIGHUP,),
                (signal.SIGUSR1,),
                (signal.SIGTERM, signal.SIGTERM),
                (signal.SIGINT, signal.SIGINT),
            ]
        ),
    ),
)


def picked(items: list[Any], pick: int) -> Any:
    """Return one of the items, whatever their number is."""
    return items[pick % len(items)]


class Histories(RuleBasedStateMachine):
    """What may happen to a folder with texts and runs."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.states = dict.fromkeys(TEXTS, "here")

    def teardown(self) -> None:
        self.world.close()

    @property
    def runs(self) -> list[Made]:
        return self.world.runs

    # Training.

    @rule(
        text=st.sampled_from([*TEXTS]),
        pick=number,
        cell=st.sampled_from([*CELL_DESCRIPTIONS]),
        depth=st.sampled_from([*DEPTH_DESCRIPTIONS]),
        optimizer=st.sampled_from([*OPTIMIZER_DESCRIPTIONS]),
        extra=st.sampled_from(EXTRAS),
        steps=st.integers(1, 6),
        surroundings=surroundings,
        mishap=mishaps,
    )
    def train(self, text, pick, cell, depth, optimizer, extra, steps, surroundings, mishap):
        """Start a run, and its twin if anything may happen to it."""
        is_shelved = self.states[text] == "shelved" and surroundings != "no shelf"
        if not is_shelved:
            self.restore(text)
        options = f"--set optimizer={optimizer} --type {cell} --set depth={depth} --steps {steps}"
        options += f" --layers {1 + pick % 2} --set keep={pick % 3} --set save_every={1 + pick % 2}"
        settings = " ".join(f"--set {one}" for one in extra.split())
        reading = picked(TEXTS[text], pick)
        line = f"train {text} --recipe small.yaml {options} {reading} {settings}"
        start = tuple(line.split())
        path = self.world.work / "checkpoints" / self.world.name()
        twin = self.world.root / "twins" / path.name

        # Settings that do not go together are refused, whatever else happens.
        first = self.world.call(*start, "--out", twin, codes=(0, 2), writes=(twin,))
        ran = self.world.call(
            *start,
            *("--out", path),
            codes=(first.code,),
            writes=(path,),
            surroundings=surroundings,
            mishap=mishap,
        )
        if first.code == 0:
            made = Made(path, text, reading, start, twin, is_moved=is_shelved)
            self.runs.append(made)
            self.finish(made, ran)

    @precondition(lambda self: self.runs)
    @rule(
        pick=number,
        more=st.sampled_from([0, 0, 3]),
        is_elsewhere=st.booleans(),
        surroundings=surroundings,
        mishap=mishaps,
    )
    def resume(self, pick, more, is_elsewhere, surroundings, mishap):
        """Go on with a run, or start it again if nothing was saved."""
        made = picked(self.runs, pick)
        words = ["train", "--resume", made.path]
        codes = (0,)
        folder = self.world.work
        if not whole_checkpoints(made.path):
            if made.is_damaged or not made.start:
                codes = (4,)
            else:
                words = [*made.start, "--out", made.path]
                self.restore(made.text)
        elif not made.start:
            codes = (2,)
        else:
            latest = RunReader(made.path).load_checkpoint("latest", with_training=False)
            details = {"surroundings": surroundings, "is_elsewhere": is_elsewhere}
            if not self.has_text(made, latest, **details):
                codes = (3,)
            if self.states[made.text] == "shelved":
                made.is_moved = True  # where it is found is recorded
            if is_elsewhere:
                folder = self.world.root / "elsewhere"
            if more:
                words += ["--steps", str(more + int(max(whole_checkpoints(made.path))[5:]))]
        before = made.twin
        is_longer = codes == (0,) and more > 0 and "--resume" in words
        if is_longer:
            made.twin = self.world.root / "twins" / self.world.name()
            shutil.copytree(made.path, made.twin)
            twin = [made.twin if word == made.path else word for word in words]
            self.world.call(*twin, writes=(made.twin,))
        ran = self.world.call(
            *words,
            codes=codes,
            writes=(made.path,),
            surroundings=surroundings,
            mishap=mishap,
            folder=folder,
        )
        # A command that ended at once, before it changed the run, has had no effect.
        if is_longer and steps_of(made.path) != steps_of(made.twin):
            made.twin = None if made.is_damaged else before
        if codes == (0,):
            self.finish(made, ran)

    def finish(self, made, ran):
        """Compare a run that came to its end with its twin."""
        if ran is None or ran.code != 0 or made.twin is None:
            return
        if not made.is_damaged and any(made.path.glob("damaged-*")):
            return  # a disk failed while a checkpoint was read: an earlier one was continued
        found = differences(made.path, made.twin, is_exact=not (made.is_damaged or made.is_moved))
        if found:
            self.world.fail(f"{made.path.name} differs from its twin: {', '.join(found)}")

    @precondition(lambda self: self.runs)
    @rule(pick=number, is_new=st.booleans())
    def train_beside_another(self, pick, is_new):
        """Refuse a second trainer in the folder of a run."""
        made = picked(self.runs, pick)
        if not whole_checkpoints(made.path) or not made.start:
            return
        with lock_folder(made.path):
            if is_new:
                self.world.call(*made.start, "--out", made.path, codes=(2, 6))
            else:
                self.world.call("train", "--resume", made.path, codes=(6,))

    @precondition(lambda self: self.runs)
    @rule(pick=number, surroundings=surroundings, mishap=mishaps)
    def start_from_another(self, pick, surroundings, mishap):
        """Train on from the weights of a run."""
        made = picked(self.runs, pick)
        if not whole_checkpoints(made.path):
            return
        self.restore(made.text)
        path = self.world.work / self.world.name()
        words = f"train {made.text} {made.reading} --set batch_size=2 --steps 2"
        self.world.call(
            *words.split(),
            *("--init-from", made.path, "--out", path),
            codes=(0, 2),
            writes=(path,),
            surroundings=surroundings,
            mishap=mishap,
        )

    # Texts.

    def restore(self, text):
        """Put a text back."""
        (self.world.root / "shelf" / text).unlink(missing_ok=True)
        (self.world.work / text).write_bytes(self.world.kept[text])
        self.states[text] = "here"

    def has_text(self, made, checkpoint, *, surroundings="pipe", is_elsewhere=False):
        """Return whether a command finds the text of a run: where a checkpoint says that it was, in
        the present folder, or in one of CHARRNN_CORPORA."""
        recorded = str(checkpoint.state.get("corpus_locations"))
        match self.states[made.text]:
            case "here":
                return not is_elsewhere or str(self.world.work) in recorded
            case "shelved":
                return surroundings != "no shelf" or str(self.world.root / "shelf") in recorded
        return False

    def codes_with_text(self, made, surroundings="pipe"):
        """Return how a command may end that needs the text of a run with a whole checkpoint."""
        if self.has_text(made, RunReader(made.path).load_best(), surroundings=surroundings):
            return (0,)
        return (3,)

    @rule(
        text=st.sampled_from([*TEXTS]),
        state=st.sampled_from(["here", "gone", "changed", "shelved"]),
    )
    def change_text(self, text, state):
        """Remove a text, change it, put it into a folder of CHARRNN_CORPORA, or put it back."""
        path = self.world.work / text
        self.restore(text)
        if state == "gone":
            path.unlink()
        elif state == "shelved":
            path.rename(self.world.root / "shelf" / text)
        elif state == "changed":
            path.write_bytes(path.read_bytes()[:-40] + b"\nab\n")
        self.states[text] = state

    # Folders.

    @precondition(lambda self: self.runs)
    @rule(pick=number, how=st.sampled_from(["copy", "rename", "move", "link", "delete"]))
    def handle(self, pick, how):
        """Do with the folder of a run what a user does with folders."""
        made = picked(self.runs, pick)
        if not made.path.exists():
            return
        folder = self.world.work
        if how == "rename":
            folder = made.path.parent
        target = folder / self.world.name()
        if how == "delete":
            shutil.rmtree(made.path)
            self.runs.remove(made)
            self.world.call("sample", made.path, codes=(4,))
        elif how == "copy":
            shutil.copytree(made.path, target)
            self.runs.append(replace(made, path=target))
        elif how == "link":
            target.symlink_to(made.path)
            self.sample_from(target, made)
            target.unlink()
        else:
            made.path.rename(target)
            made.path = target

    @precondition(lambda self: self.runs)
    @rule(
        pick=number,
        which=st.integers(0, 40),
        how=st.sampled_from(["flip", "cut", "empty", "remove", "garbage", "folder", "link"]),
    )
    def damage(self, pick, which, how):
        """Damage a file of a run."""
        made = picked(self.runs, pick)
        files = sorted(one for one in made.path.rglob("*") if one.is_file() and one.name != "lock")
        if not files or how == "link":
            return
        path = picked(files, which)
        if how == "folder" and path.parent == made.path:
            return  # training ends with an error that names it when it next writes this file
        data = path.read_bytes()
        path.unlink()
        made.is_damaged = True
        if how == "flip" and data:
            place = which * 997 % len(data)
            path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        elif how == "folder":
            path.mkdir()
        elif how != "remove":
            path.write_bytes(
                {"cut": data[: len(data) // 2], "garbage": b"\xff[" * 40}.get(how, b"")
            )

    # Models in use.

    def has_loss(self, made):
        """Return whether a run was validated, and a loss was finite."""
        return RunReader(made.path).newest_state().state.get("best_nats") is not None

    def model_of(self, made):
        """Return what identifies the weights of a whole run; None if they may be damaged."""
        if made.is_damaged or not whole_checkpoints(made.path):
            return None
        return RunReader(made.path).load_best().digest

    def codes_of(self, made):
        """Return how a command that needs a model of a run may end."""
        if whole_checkpoints(made.path):
            return (0,)
        return (4,)

    def sample_from(self, path, made, **details):
        """Sample, and compare with what the same model wrote before."""
        words = ["sample", path, "--seed", "7", "--length", "20", "--prime", PRIMES[made.text]]
        ran = self.world.call(*words, codes=self.codes_of(made), **details)
        # A terminal gets control characters as marks, and a disk that fails another checkpoint.
        is_other = details.get("surroundings") in TERMINALS
        if ran is not None and ran.code == 0 and not is_other and "warning: " not in ran.err:
            self.compare(made, ran.out.removeprefix(PRIMES[made.text]))

    def compare(self, made, text):
        """Compare a text with what the same model wrote before."""
        model = self.model_of(made)
        if model is None:
            return
        if self.world.texts.setdefault(model, text) != text:
            self.world.fail(f"{made.path} wrote {text!r} and {self.world.texts[model]!r}")

    @precondition(lambda self: self.runs)
    @rule(pick=number, surroundings=surroundings, mishap=mishaps)
    def sample(self, pick, surroundings, mishap):
        made = picked(self.runs, pick)
        if surroundings == "C locale" and made.text == "bytes.txt":
            return
        self.sample_from(made.path, made, surroundings=surroundings, mishap=mishap)

    @precondition(lambda self: self.runs)
    @rule(
        pick=number,
        command=st.sampled_from(
            ["evaluate", "visualize", "visualize --cell 0:1", "runs", "predict"]
        ),
        is_json=st.booleans(),
        surroundings=surroundings,
        mishap=mishaps,
    )
    def look(self, pick, command, is_json, surroundings, mishap):
        made = picked(self.runs, pick)
        codes = self.codes_of(made)
        name, *options = command.split()
        words = [name, made.path, *options]
        if name == "runs" and (made.is_damaged or (made.path / "config.yaml").exists()):
            # A damaged configuration has no copy that the list looks for.
            codes = (0, 4) if made.is_damaged else (0,)
        elif name == "predict":
            words.append(PRIMES[made.text])
        elif codes == (0,):
            codes = self.codes_with_text(made, surroundings)
            if not self.has_loss(made):
                codes += (4,)
        if is_json:
            words.append("--json")
        self.world.call(*words, codes=codes, surroundings=surroundings, mishap=mishap)

    @precondition(lambda self: self.runs)
    @rule(
        pick=number,
        other=number,
        line=st.sampled_from(LINES),
        surroundings=surroundings,
        mishap=mishaps,
    )
    def use_option(self, pick, other, line, surroundings, mishap):
        """Use an option of a command that takes a run."""
        made = picked(self.runs, pick)
        names = {"run": made.path, "other": picked(self.runs, other).path}
        words = line.format(**names, few=f"few-{made.text}").split()
        written = tuple(self.world.work / f"made{suffix}" for suffix in (*FORMATS, ".csv"))
        codes = (0, 2, 3)
        if not whole_checkpoints(names["run"]) or not whole_checkpoints(names["other"]):
            codes += (4,)
        elif "{run}@" in line:
            codes += (4,)  # the run may not have this step
        elif {"--plot", "evaluate", "visualize"} & {*words} and not self.has_loss(made):
            codes += (4,)
        self.world.call(
            *words, codes=codes, writes=written, surroundings=surroundings, mishap=mishap
        )

    @precondition(lambda self: self.runs)
    @rule(
        pick=number,
        suffix=st.sampled_from([".zip", ".html"]),
        surroundings=surroundings,
        mishap=mishaps,
    )
    def export(self, pick, suffix, surroundings, mishap):
        """Write a model to a file, and use that."""
        made = picked(self.runs, pick)
        path = self.world.work / self.world.name(suffix)
        codes = self.codes_of(made)
        if codes == (0,) and suffix != ".zip":
            codes = (0, 2)
        if made.is_damaged:
            codes += (4,)  # no other checkpoint is exported in place of the best one
        ran = self.world.call(
            "export",
            made.path,
            path,
            codes=codes,
            writes=(path,),
            surroundings=surroundings,
            mishap=mishap,
        )
        if ran is not None and ran.code == 0 and suffix == ".zip":
            self.sample_from(path, made)
