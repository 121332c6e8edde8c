"""charrnn visualize: the cells of a model, coloured over a text, named and scored.

Here it reads the options, the model and the text, and chooses what is shown: `visualize_findings`,
`visualize_cells` and `visualize_network` measure it, and draw what they found.
"""

import re
from collections.abc import Sequence
from textwrap import fill

from charrnn.api import load
from charrnn.cells.findings import CHARS_SCORED
from charrnn.cli.arguments import introduce, read_passage
from charrnn.cli.streams import deliver, export_target
from charrnn.commands.visualize_cells import show_cells, show_surprise
from charrnn.commands.visualize_findings import show_findings
from charrnn.commands.visualize_network import show_evidence, show_gates, show_gradients
from charrnn.commands.visualize_options import CHARS_SHOWN, Subject, VisualizeOptions
from charrnn.detectors.custom import custom_detector
from charrnn.detectors.detector import Detector
from charrnn.detectors.registry import DETECTORS, get_detectors
from charrnn.errors import UsageError
from charrnn.runs.targets import Target
from charrnn.system.progress import task, warn
from charrnn.text.cleaning import tidied
from charrnn.text.given_text import unknown_warning
from charrnn.views.delivery import Shown


def epilog() -> str:
    """Return the text below the help: the names of all detectors."""
    names = ", ".join(detector.name for detector in get_detectors(None))
    listed = f"Detectors, those of installed packages last: {names}."
    # A name that is divided could not be copied.
    return "\b\n" + fill(listed, width=76, break_on_hyphens=False)


def visualize(options: VisualizeOptions) -> None:
    """Show what the cells of a model keep track of.

    \b
    Examples:
      charrnn visualize
      charrnn visualize mine --cell 0:3 --text letter.txt
      charrnn visualize --surprise --export surprise.html

    Without options: finds, for each detector, the cell that follows it best. Then the best cells
    are coloured over the text: red where the cell is low, blue where it is high. A cell that is low
    inside what it follows is drawn with its sign turned, so that the inside is blue.
    """
    # Errors of the command line appear before a model is loaded.
    shows_network = options.gates or options.gradients
    target = export_target(
        options,
        has_arrays=not (options.surprise or options.evidence or shows_network),
        has_rows=not (options.cells or shows_network),
    )
    detectors = _chosen_detectors(options.detectors, options.detect)
    if options.chars is not None and not options.colours_text:
        warn("--chars applies to --cell and --surprise only: it is ignored")

    # The arrays belong to the text itself, whatever is shown of it.
    subject = _prepare(options, detectors)
    if target is not None and options.suffix == ".npz":
        export_arrays(subject, target)
        return

    # This progress appears at once: the first bar of the measurement may come after seconds.
    with task(f"reading {subject.model.name}", unit=""):
        shown = _show(subject)
    deliver(shown, target, as_json=options.json)


def _show(subject: Subject) -> Shown:
    """Measure and draw what the options ask for."""
    options = subject.options
    if options.cells:
        return show_cells(subject)
    if options.surprise:
        return show_surprise(subject)
    if options.evidence:
        return show_evidence(subject)
    if options.gates:
        return show_gates(subject)
    if options.gradients:
        return show_gradients(subject)
    return show_findings(subject)


def _chosen_detectors(names: Sequence[str], specs: Sequence[str]) -> list[Detector]:
    """Return the detectors that --detector names and --detect defines; all built-in detectors if
    there are none.

    Raises UsageError for an unusable detector, and for two detectors with the same name.
    """
    custom = [_own_detector(spec) for spec in dict.fromkeys(specs)]

    # Scores are listed by name, so two detectors must not have the same name.
    taken = {*DETECTORS, *names}
    for detector in custom:
        if detector.name in taken:
            raise UsageError(
                f"--detect: two detectors are named {detector.name}. Give each a name of its own:"
                " NAME=REGEX."
            )
        taken.add(detector.name)

    # A user who defines a detector asks about this detector, not about all the built-in detectors.
    if custom and not names:
        return custom
    return [*get_detectors(names), *custom]


def _own_detector(spec: str) -> Detector:
    """Return the detector of --detect: a regular expression, NAME=REGEX or FILE.py. Raises
    UsageError."""
    # A path may have a = in it, too.
    named = None
    if not spec.endswith(".py"):
        # It finds what the model reads, and what a model that reads files as they stand reads.
        read = tidied(spec)
        if read != spec and "=" not in spec:
            spec = f"(?:{spec})|(?:{read})"
        named = re.fullmatch(r"([^\W\d]\w*)=(.+)", spec, re.DOTALL)
    if named is None:
        return custom_detector(spec)
    return custom_detector(named[2], named[1])


def _prepare(options: VisualizeOptions, detectors: list[Detector]) -> Subject:
    """Load the model and encode the beginning of the text, with warnings about it."""
    # Findings need many characters, a coloured text only as many as a person looks at. The page of
    # a cell is measured on more text than is coloured; an export of arrays has no such page.
    num_chars = CHARS_SCORED
    if options.colours_text:
        num_chars = options.chars or CHARS_SHOWN
    num_read = num_chars
    if options.cells and options.suffix != ".npz":
        num_read = max(num_chars, CHARS_SCORED)

    model = load(options.run)
    introduce(model, options.run)

    read, context, num_available = read_passage(
        model, source=options.text, num_chars=num_read, part=options.part
    )
    whole = model.encode(read, context=context)
    shown = whole.part(0, num_chars)
    warn(*unknown_warning(model.name, vocab=model.vocab, ids=shown.ids[shown.first :]))

    # The findings of this command are measured anew, and replace the saved findings.
    if options.recompute:
        model.findings.measures_anew = True
    return Subject(
        model=model,
        content=read[:num_chars],
        context=context,
        text=shown,
        num_available=num_available,
        whole=whole,
        options=options,
        detectors=detectors,
    )


def export_arrays(subject: Subject, target: Target) -> None:
    """Write the trace of the text to a file, and the labels of the detectors."""
    # With the outputs h as well, because users of arrays fit models to them.
    trace = subject.model.trace(subject.text, keeps_hidden=True)
    # With --cell no cell is chosen, so no part of the text counts as scored.
    num_chosen_on = subject.study.half
    if subject.options.cells:  # chosen by the user
        num_chosen_on = len(trace.text)
    arrays = trace.to_arrays(subject.detectors, num_chosen_on=num_chosen_on)
    deliver(Shown("", pictures=(), data=None, arrays=arrays), target)
