"""The options of the settings of a run, which `train` and `sweep` share."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from charrnn.architectures import CELLS, DEPTHS
from charrnn.optimizers import OPTIMIZERS

BUDGET, MODEL, TRAINING, TEXT, SETTINGS = "Budget", "Model", "Training", "Text", "All settings"
"""Groups of options in the help, which shows each at its first option."""
MACHINE, FOLDER = "Machine", "Run folder"
"""The other groups."""
FIELDS = {
    **{name: name for name in ("minutes", "epochs", "steps", "cell", "depth", "hidden_size", "parameters")},
    **{name: name for name in ("embedding_size", "optimizer", "dropout", "alphabet", "encoding", "split")},
    **{name: name for name in ("documents", "column", "order", "seed", "device", "precision", "init_from")},
    **{name: name for name in ("extend_alphabet", "save_every", "evaluate_every", "keep")},
    "layers": "num_layers",
}
"""Parameters of a command with the options below, and the field of the configuration that each sets."""


def setting_option(*names: str, text: str, panel: str, metavar: str) -> Any:
    """Define an option that belongs to the group `panel` of the help."""
    return typer.Option(*names, help=text, rich_help_panel=panel, metavar=metavar)


MinutesOption = Annotated[
    str | None, setting_option("--minutes", text="Train for about M minutes (default: 3).", panel=BUDGET, metavar="M")
]
"""--minutes."""
EpochsOption = Annotated[
    str | None, setting_option("--epochs", text="Train for E passes over the text.", panel=BUDGET, metavar="E")
]
"""--epochs."""
StepsOption = Annotated[
    str | None, setting_option("--steps", text="Train for N optimizer steps.", panel=BUDGET, metavar="N")
]
"""--steps."""
CellOption = Annotated[
    str | None,
    setting_option(
        "--cell",
        text=f"{', '.join(CELLS)}, a cell of an installed package, or auto.",
        panel=MODEL,
        metavar="CELL",
    ),
]
"""--cell."""
LayersOption = Annotated[
    str | None, setting_option("--layers", text="Number of recurrent layers.", panel=MODEL, metavar="L")
]
"""--layers."""
DepthOption = Annotated[str | None, setting_option("--depth", text=f"{', '.join(DEPTHS)}.", panel=MODEL, metavar="HOW")]
"""--depth."""
HiddenSizeOption = Annotated[
    str | None, setting_option("--hidden-size", text="Units per layer.", panel=MODEL, metavar="H")
]
"""--hidden-size."""
ParametersOption = Annotated[
    str | None,
    setting_option(
        "--parameters", text="Instead of --hidden-size: at most N weights (300k, 1.5M).", panel=MODEL, metavar="N"
    ),
]
"""--parameters."""
EmbeddingSizeOption = Annotated[
    str | None,
    setting_option(
        "--embedding-size", text="Size of a character's embedding, or one-hot for none.", panel=MODEL, metavar="E"
    ),
]
"""--embedding-size."""
OptimizerOption = Annotated[
    str | None,
    setting_option("--optimizer", text=f"{', '.join(OPTIMIZERS)}. Default: muon.", panel=TRAINING, metavar="NAME"),
]
"""--optimizer."""
DropoutOption = Annotated[
    str | None,
    setting_option(
        "--dropout", text="Share of units dropped at the output of every layer.", panel=TRAINING, metavar="P"
    ),
]
"""--dropout."""
AlphabetOption = Annotated[
    str | None,
    setting_option(
        "--alphabet",
        text="char (rare ones become one symbol), exact (all that occur) or byte.",
        panel=TEXT,
        metavar="KIND",
    ),
]
"""--alphabet."""
EncodingOption = Annotated[
    str | None,
    setting_option("--encoding", text="Encoding of the text: utf-8, latin-1, utf-16, …", panel=TEXT, metavar="NAME"),
]
"""--encoding."""
DocumentsOption = Annotated[
    str | None,
    setting_option(
        "--documents",
        text="Many short texts, each with an end: files, lines or blank-lines (parted by blank lines).",
        panel=TEXT,
        metavar="KIND",
    ),
]
"""--documents."""
ColumnOption = Annotated[
    str | None,
    setting_option("--column", text="CSV files: each value of this column is a document.", panel=TEXT, metavar="NAME"),
]
"""--column."""
SplitOption = Annotated[
    str | None,
    setting_option("--split", text="Training/validation[/test] shares; default: 90/10.", panel=TEXT, metavar="A/B"),
]
"""--split."""
OrderOption = Annotated[
    str | None,
    setting_option(
        "--order",
        text="Join the files of a folder in shuffled order (the default) or sorted.",
        panel=TEXT,
        metavar="HOW",
    ),
]
"""--order."""
RecipeOption = Annotated[
    str | None,
    setting_option(
        "--recipe",
        text="Other defaults: classic (the shape of char-rnn), tiny (15 seconds), or a .yaml file.",
        panel=SETTINGS,
        metavar="NAME",
    ),
]
"""--recipe."""
SetOption = Annotated[
    list[str] | None,
    setting_option(
        "--set", text="Set any field, e.g. learning_rate=4e-3 (repeatable).", panel=SETTINGS, metavar="FIELD=VALUE"
    ),
]
"""--set."""
SeedOption = Annotated[
    str | None,
    setting_option("--seed", text="Seed of the weights, the dropout and the samples.", panel=TRAINING, metavar="N"),
]
"""--seed."""
DeviceOption = Annotated[
    str | None, setting_option("--device", text="auto, cpu, cuda or mps.", panel=MACHINE, metavar="DEVICE")
]
"""--device."""
PrecisionOption = Annotated[
    str | None, setting_option("--precision", text="auto, fp32, bf16 or fp16.", panel=MACHINE, metavar="P")
]
"""--precision."""
InitFromOption = Annotated[
    str | None,
    setting_option(
        "--init-from",
        text="Start a new run from this run's best weights, or from a .zip of charrnn export.",
        panel=MODEL,
        metavar="RUN",
    ),
]
"""--init-from."""
ExtendAlphabetOption = Annotated[
    bool,
    typer.Option(
        "--extend-alphabet",
        help="With --init-from: learn the new characters of the text, too.",
        rich_help_panel=MODEL,
    ),
]
"""--extend-alphabet."""
SaveEveryOption = Annotated[
    str | None,
    setting_option("--save-every", text="Save every N steps; default: at every validation.", panel=FOLDER, metavar="N"),
]
"""--save-every."""
EvaluateEveryOption = Annotated[
    str | None,
    setting_option(
        "--evaluate-every", text="Validate every N steps; default: about eight times.", panel=TRAINING, metavar="N"
    ),
]
"""--evaluate-every."""
LogOption = Annotated[
    list[str] | None,
    setting_option(
        "--log",
        text="Follow the run in tensorboard, wandb, mlflow or trackio, too (repeatable).",
        panel=FOLDER,
        metavar="TRACKER",
    ),
]
"""--log."""
KeepOption = Annotated[
    str | None, setting_option("--keep", text="Checkpoints to keep besides best and latest.", panel=FOLDER, metavar="N")
]
"""--keep."""


def given_fields(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields that the options of a command set, as text, given the values of its parameters."""
    given = {field: parameters.get(name) for name, field in FIELDS.items()}
    words = {True: "true", False: None}
    texts = {field: words[value] if isinstance(value, bool) else value for field, value in given.items()}
    return {field: text for field, text in texts.items() if text is not None}
