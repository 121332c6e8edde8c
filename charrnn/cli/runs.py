"""`charrnn runs`: the runs in checkpoints/."""

from dataclasses import asdict
from pathlib import Path

from charrnn.cli.options import DebugOption, JsonOption, QuietOption
from charrnn.cli.streams import print_json, result_console, warn


def runs(json: JsonOption = False, quiet: QuietOption = False, debug: DebugOption = False) -> None:
    """List the runs and their losses.

    The runs in checkpoints/, oldest first.
    """
    from charrnn.errors import CharRNNError
    from charrnn.runs.locate import list_runs
    from charrnn.runs.summary import summarize

    summaries = []
    for folder in list_runs(Path("checkpoints")):
        try:
            summaries.append(summarize(folder))
            warn(summaries[-1].warnings, quiet=quiet)
        except CharRNNError as error:
            warn((f"{folder.path.name}: {error}",), quiet=quiet)
    if json:
        print_json([asdict(summary) for summary in summaries])
    elif summaries:
        from charrnn.render.tables import runs_table

        result_console().print(runs_table(summaries))
    else:
        warn(("No runs in checkpoints/ yet. Train one: charrnn train",), quiet=quiet)
