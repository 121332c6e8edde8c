"""The public Python interface: the verbs and the option names of the command line.

`Model` is a `TrainedModel` with methods that need counts or plugins. A module that stands for a
plugin is imported when a method uses it, and the error names a plugin that is missing.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from numpy.typing import NDArray

from charrnn.generation.generated_text import MIN_COPY_LENGTH
from charrnn.generation.generator import beginning_of, fresh_seed
from charrnn.generation.sample_options import (
    DEFAULT_UNKNOWN,
    NUM_CONTINUATIONS,
    SAMPLE_TEMPERATURE,
)
from charrnn.model.clamping import NUM_CELLS
from charrnn.runs.targets import Target
from charrnn.system.display import RecordList
from charrnn.system.lazy import LazyModule
from charrnn.system.process import check_room_for_numba
from charrnn.text.corpus import CorpusPart
from charrnn.text.given_text import GivenText, read_given, text_to_continue, whole_text
from charrnn.trained_model import (
    MAX_LAG,
    SGD_LEARNING_RATE,
    TextOrIds,
    TrainedModel,
    load_as,
)

if TYPE_CHECKING:
    from torch import Tensor

    from charrnn.counts import counting, growing, kneser_ney
    from charrnn.counts.counted_model import CountedModel
    from charrnn.detectors.detector import Detector
    from charrnn.generation import continuations as assistant
    from charrnn.model_study import ModelStudy
    from charrnn.plugins.analyses import atlas as atlases
    from charrnn.plugins.analyses import backpropagation as gradients_of_numbers
    from charrnn.plugins.analyses import (
        descriptions,
        directions,
        evidence,
        gradients,
        ranking,
    )
    from charrnn.plugins.analyses import gates as gate_reports
    from charrnn.plugins.analyses import inputs as drivers
    from charrnn.plugins.analyses import numbers as network_numbers
    from charrnn.plugins.analyses import outputs as effects
    from charrnn.plugins.analyses.directions import Direction
    from charrnn.plugins.formats import export
    from charrnn.plugins.reports import copies, dynamic
    from charrnn.plugins.reports import novelty as novelties
else:
    atlases = LazyModule("charrnn.plugins.analyses.atlas")
    descriptions = LazyModule("charrnn.plugins.analyses.descriptions")
    directions = LazyModule("charrnn.plugins.analyses.directions")
    evidence = LazyModule("charrnn.plugins.analyses.evidence")
    gradients = LazyModule("charrnn.plugins.analyses.gradients")
    ranking = LazyModule("charrnn.plugins.analyses.ranking")
    gradients_of_numbers = LazyModule("charrnn.plugins.analyses.backpropagation")
    gate_reports = LazyModule("charrnn.plugins.analyses.gates")
    drivers = LazyModule("charrnn.plugins.analyses.inputs")
    network_numbers = LazyModule("charrnn.plugins.analyses.numbers")
    effects = LazyModule("charrnn.plugins.analyses.outputs")
    counting = LazyModule("charrnn.counts.counting")
    growing = LazyModule("charrnn.counts.growing")
    kneser_ney = LazyModule("charrnn.counts.kneser_ney")
    assistant = LazyModule("charrnn.generation.continuations")
    export = LazyModule("charrnn.plugins.formats.export")
    copies = LazyModule("charrnn.plugins.reports.copies")
    dynamic = LazyModule("charrnn.plugins.reports.dynamic")
    novelties = LazyModule("charrnn.plugins.reports.novelty")


class Model(TrainedModel):
    """A trained model: generates text (without torch), predicts, and shows its cells.

    Its `generator` generates text, with options in a dataclass.
    """

    def study(
        self, text: TextOrIds, *, context: str | bytes = "", cached: bool = False
    ) -> "ModelStudy":
        """Return a study of the cells over `text`, read after `context`: findings, rankings,
        passages, values, history.

        With `cached` each result is saved in the user's cache folder. Raises DataError for an empty
        text.

        >>> study = model.study(text, cached=True)
        >>> study.passages(study.findings())
        """
        from charrnn.model_study import ModelStudy

        return self.study_as(ModelStudy, text, context=context, cached=cached)

    # How cells are looked into.

    def atlas(
        self, text: TextOrIds, *, context: str | bytes = "", cached: bool = False
    ) -> "atlases.Atlas":
        """Measure all cells over `text`, read after `context`: values, places on a map,
        descriptions, inputs, outputs and findings.

        With `cached` the findings, the descriptions, the inputs and the outputs are saved in the
        user's cache folder. Raises DataError for a text too short for findings.

        >>> atlas = model.atlas(text)
        >>> len(atlas.cells), atlas.findings.scores[0]
        """
        return self.study(text, context=context, cached=cached).atlas()

    def direction(self, detector: "str | Detector", size: int | None = NUM_CELLS) -> "Direction":
        """Fit a direction for a detector on the beginning of the run's validation text: `size`
        cells, None for all.

        It can be clamped. The result is saved in the user's cache folder. Raises UsageError for an
        unknown detector or a `size` out of range, DataError if the text is missing or the detector
        cannot be scored.

        >>> direction = model.direction("quote")
        >>> model.sample(clamps={direction: direction.high}, length=100).text
        """
        return directions.held_out_direction(self, detector, size=size)

    def gates(self, text: TextOrIds, *, context: str | bytes = "") -> "gate_reports.GateReport":
        """Count how often each gate of each unit is saturated in `text`, read after `context`.

        Raises UsageError for a cell type without gates, DataError for an empty text, CharRNNError
        if there is no room on the disk.

        >>> for gate in model.gates(text).gates:
        ...     print(gate.layer, gate.gate, max(gate.right))  # the unit that is open most often
        """
        return gate_reports.count_gates(
            self.network, text=self.encode(text, context=context), name=self.name
        )

    def gradients_with(
        self,
        others: "Iterable[Model]",
        text: GivenText,
        *,
        context: str | bytes = "",
        max_lag: int = MAX_LAG,
    ) -> "tuple[gradients.GradientReach, ...]":
        """Compute how far gradients reach back in this model and in others, each beside its
        untrained baseline, over `text`, read after `context`.

        Each model encodes the text by its own alphabet. Raises UsageError for a `max_lag` under 1,
        DataError for a text too short.

        >>> first, untrained, *others = model.gradients_with([charrnn.load("other")], raw)
        >>> first.norms[0][50]  # of layer 0, 50 characters back
        """
        return gradients.gradients_of((self, *others), text, context=context, max_lag=max_lag)

    def numbers(
        self, text: GivenText, *, unknown: str = DEFAULT_UNKNOWN
    ) -> "network_numbers.NetworkNumbers":
        """Compute every number of a small network that reads `text` from the initial state, in
        float64.

        For a model of documents the text is the beginning of one. Raises UsageError for a network
        or a text too large and for an empty text, DataError for characters outside the vocabulary
        unless `unknown` is `nearest`.

        >>> numbers = charrnn.load("tiny").numbers("hel")
        >>> numbers.steps[0].layers[0].row("h").values
        """
        beginning = text_to_continue(text, self.config)
        return network_numbers.model_numbers(self, beginning, unknown=unknown)

    def backpropagation(
        self,
        text: GivenText,
        *,
        learning_rate: float = SGD_LEARNING_RATE,
        unknown: str = DEFAULT_UNKNOWN,
    ) -> "gradients_of_numbers.Backpropagation":
        """Compute the gradients of the sum of the losses of `text` by every number of a small
        network and by its weights, in float64, and the weights after a step of SGD.

        The equations of rnn, lstm and gru are written out; other networks raise UsageError, and so
        do a text without a character to predict and what `numbers` refuses. Raises DataError as
        `numbers`.

        >>> backward = charrnn.load("tiny").backpropagation("hello")
        >>> backward.steps[0].layers[0].row("dh right").values
        """
        beginning = text_to_continue(text, self.config)
        return gradients_of_numbers.model_backpropagation(
            self, beginning, learning_rate=learning_rate, unknown=unknown
        )

    # N-grams of the training text.

    def ngram_model(
        self, order: int = 20, *, training: CorpusPart | None = None
    ) -> "kneser_ney.NgramModel":
        """Count the n-grams of the run's training text, n = 1 … `order`, in the model's alphabet.

        `training` is that text where it is read already. Raises DataError if the training text is
        missing, changed or shorter than `order`, UsageError for an order out of range.

        >>> model.ngram_model(5).order
        """
        return kneser_ney.fit_ngrams(
            training or self.training_text(), order, end_id=self.config.end_id
        )

    def with_counts(self) -> "CountedModel":
        """Return the model together with the counts of its training text, which training keeps
        beside the checkpoints.

        Raises DataError for a model that has none, CheckpointError if they are damaged or belong to
        another step, CharRNNError if there is too little memory.

        >>> model.with_counts().sample(length=200, seed=1).text
        """
        check_room_for_numba()
        return counting.with_counts(self)

    def growing_counts(self, ids: NDArray[Any], first: int) -> "growing.GrowingCounts | None":
        """Return the counts of the training text, to grow with the characters of ids (N,) from
        `first` on; None for a model without counts.

        >>> part = model.held_out()
        >>> counts = model.growing_counts(part.ids, first=part.begin)
        """
        return growing.growing_counts(self, ids, first=first)

    # Files that other programs read.

    def export(self, path: str | Path, *, force: bool = False, title: str | None = None) -> Path:
        """Write the model to a file in the format of its suffix, and return its path.

        `load` and every command take a .zip. `title` is that of a page, by default the name of the
        model. No format contains the optimizer, a text or the name of a folder.

        Raises UsageError for another suffix, for a folder or a package that is missing, for a file
        that exists unless `force`, and for the title of another file than a page; CheckpointError
        for a step that stands for a damaged one, unless `load` got its number; CharRNNError if it
        cannot be written.

        >>> model.export("model.zip", force=True)
        >>> charrnn.load("model.zip").step
        """
        read = () if self.path is None else (self.path,)
        export.write_model(self, Target(Path(path), force=force, read=read), title=title)
        return Path(path)

    # What was learned, and what of a text was copied.

    def adapted(
        self,
        text: GivenText,
        *,
        unknown: str = DEFAULT_UNKNOWN,
        settings: "dynamic.DynamicSettings | None" = None,
    ) -> "Model":
        """Return a model whose weights have learned from `text` by dynamic evaluation; this one
        stays as it is.

        The result's `adaptation` has the losses. It belongs to no run: its `path` and `step_digest`
        are None, and it is not saved. `unknown` is that of `sample`. Raises DataError for a text of
        one segment or less and for characters outside the vocabulary, UsageError for bytes where
        the model reads characters, NonFiniteError if the weights diverge.

        >>> letters = model.adapted("What is the king to me? " * 20)
        >>> letters.sample(length=100, seed=1).text
        """
        whole = whole_text(text, self.config)
        return cast(Model, dynamic.adapted(self, whole, unknown=unknown, settings=settings))

    def gradient_scale(self, part: CorpusPart | None = None) -> "dict[str, Tensor]":
        """Compute the root mean square of each weight's gradient, by which dynamic evaluation
        divides its steps: on the training text in the corpus of `part` or, without any, on texts
        that the model draws.

        >>> model.gradient_scale()["output.weight"].mean()
        """
        return dynamic.gradient_scale(self, part)

    def new_documents(self, known: GivenText = ()) -> Callable[[str | bytes], bool]:
        """Return a function that says whether a document stands neither in the text of the model,
        held-out parts included, nor in the texts of the models that it started from, and is none of
        those that are `known`: `accept` of `samples`. A file of known documents is read as the run
        read its own text.

        Raises DataError if the run's text or a file is missing or changed, UsageError for a model
        without documents.

        >>> accept = model.new_documents(known=["anna", Path("taken.txt")])
        >>> model.samples(100, unique=True, accept=accept)
        """
        return novelties.new_documents(self, known)

    def novelty(self, text: GivenText, *, min_length: int = MIN_COPY_LENGTH) -> "novelties.Novelty":
        """Find what `text` copies from the run's training text, which is read again: segments of at
        least `min_length` characters.

        `Novelty.text`, which the offsets refer to, is `text` encoded as the corpus is: with LF line
        ends or, for the byte alphabet, as bytes. Characters outside the model's alphabet are
        compared like any other. `held_out_share` is what the beginning of the validation text
        shares with the training text: names, idioms and licences recur without any copying. A share
        near it is no sign of copying. Raises DataError if the run's text is missing or changed and
        for a text too long, UsageError for a `min_length` under 1.

        >>> found = model.novelty(model.sample(length=2000).text)
        >>> found.share_copied, found.held_out_share
        """
        given = read_given(text, self.config)
        return self.novelty_reference().compare(given, min_length=min_length)

    def novelty_reference(self, *, length: int = 0) -> "novelties.NoveltyReference":
        """Read and verify the run's training text, so that `compare` can compare several texts with
        it.

        Raises DataError if it is missing or changed, UsageError if a sample of `length` characters
        is too long to be compared.

        >>> reference = model.novelty_reference(length=500)
        >>> [reference.compare(drawn.text).share_copied for drawn in model.samples(3, length=500)]
        """
        return novelties.novelty_reference(self, length=length)

    def known_passages(self, num_chars: int) -> "copies.KnownPassages":
        """Read the training text of the run, and of the runs that it started from, so that no
        sample copies more than `num_chars` characters of it in a row.

        Raises DataError if the text is missing or has changed.

        >>> known = model.known_passages(30)
        >>> model.sample(length=200, forbid=known).text
        """
        return copies.known_passages(self, num_chars)

    def continuations(
        self,
        text: GivenText,
        *,
        count: int = NUM_CONTINUATIONS,
        until: str = "word",
        temperature: float = SAMPLE_TEMPERATURE,
        seed: int | None = None,
    ) -> "list[assistant.Continuation]":
        """Return `count` different continuations of a text to the end of a `word`, a `line` or a
        `sentence`.

        A fifth of them come from a beam search, the others are samples. Fewer are returned only if
        the model has no more. Characters that the model does not know are replaced by similar ones.
        Without a seed a new one is drawn. Raises UsageError for an option out of range.

        >>> for continuation in model.continuations("What is the ", until="word", seed=1):
        ...     print(continuation.text)
        """
        if seed is None:
            seed = fresh_seed()
        beginning = beginning_of(text_to_continue(text, self.config))
        options = assistant.ContinuationOptions(until=until, temperature=temperature, seed=seed)
        return RecordList(
            assistant.continue_text(self.generator, beginning, options=options).take(count)
        )


def load(run: str | Path | None = None, *, step: int | None = None) -> Model:
    """Load a run's best checkpoint (its latest, if nothing was validated yet), or a file that
    `Model.export` wrote.

    Without `run`, the newest run that was validated, in `checkpoints` or directly in the current
    folder; where none was, the newest, which is one of its `warnings`. With `step`, or as
    "RUN@STEP", the checkpoint of that step. Raises CheckpointError if there is no such run or step,
    or nothing in it can be verified.

    >>> model = charrnn.load("shakespeare")  # a name in checkpoints/, or a path
    >>> earlier = charrnn.load("shakespeare@100")
    >>> model.step, model.val_nats
    """
    return load_as(Model, run, step=step)
