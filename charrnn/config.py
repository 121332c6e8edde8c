"""What a run is made of: one frozen dataclass, every value checked at the border."""

import math
import os
import re
import reprlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from encodings.aliases import aliases
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from charrnn.errors import UsageError, did_you_mean

Auto = Literal["auto"]

CELLS = ("lstm", "gru", "rnn", "irnn", "peephole", "coupled", "mlstm", "antisymmetric", "unitary")
DEPTHS = ("stacked", "residual", "highway", "dilated", "grid")
INITIAL_STATES = ("zero", "learned")
ALPHABETS = ("char", "byte")
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16")
BUDGETS = ("minutes", "epochs", "steps")
SIZES = ("num_layers", "hidden_size", "embedding_size")
LARGEST_NUMBER = 10**100
"""Of whole numbers: Python does not turn much larger ones into floats."""
LONGEST_NAMES = 100_000
"""Of a corpus's names in all, in bytes with all but ASCII escaped: `config.yaml` holds them."""
MODEL_FIELDS = ("alphabet", "cell", "depth", "sum_outputs", "initial_state", *SIZES)
"""Fields that say which weights a model has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Everything needed to build a model and train it again. `auto` is filled in by `training.recipe`.

    Raises UsageError that names the field, its value and the allowed range.
    """

    corpus: tuple[str, ...] = ()
    """Files, folders, globs, `.gz`, `-` or catalogue names; empty: the standard library's own source."""
    alphabet: str = "char"
    """`char` (characters; rare ones become one unknown symbol) or `byte` (the file's bytes as they are)."""
    encoding: str = "utf-8"
    """How the text's characters are spelled in bytes: utf-8, latin-1, cp1252, utf-16, … (not for `byte`)."""
    min_count: int = 3
    """A character seen fewer times than this becomes unknown (small texts keep every character)."""
    split: tuple[float, ...] = (0.9, 0.1)
    """Shares of the text, from its start: training, validation and, if a third is given, test."""

    cell: str = "auto"
    """Recurrent cell: lstm, gru, rnn (tanh), irnn (relu), peephole, coupled, mlstm, antisymmetric or unitary."""
    depth: str = "stacked"
    """How layers stand on each other: stacked, residual, highway, dilated or grid."""
    sum_outputs: bool = False
    """Whether the output layer reads the sum of all layers rather than the last one."""
    num_layers: int | Auto = "auto"
    """How many recurrent layers stand on each other."""
    hidden_size: int | Auto = "auto"
    """Units of each layer."""
    embedding_size: int | Auto = "auto"
    """Length of a character's vector."""
    dropout: float | Auto = "auto"
    """Share of units dropped at every layer's output, the same units for a whole window (Gal 2016)."""
    input_dropout: float | Auto = "auto"
    """Share of a character's vector dropped, the same entries for a whole window (Gal 2016)."""
    weight_drop: float = 0.0
    """Share of the recurrent weights dropped, the same ones for a whole window (Merity 2018)."""
    zoneout: float = 0.0
    """Chance that a unit keeps its old state for a character (Krueger 2017)."""
    omega: float = 0.0
    """Weight of Ω, which keeps a plain rnn's error signal from fading and growing on its way back (Pascanu 2013)."""
    initial_state: str = "zero"
    """What a text starts from: zero, or learned with the weights."""
    init_from: str | None = None
    """A run (its folder, or its name under checkpoints/) whose best weights and alphabet training starts with."""
    forget_bias: float = 1.0
    """What an LSTM's forget gate starts with (Gers 2000; Jozefowicz 2015)."""

    minutes: float | None = None
    """Budget in minutes; turned into a number of steps after a few seconds of measuring."""
    epochs: float | None = None
    """Budget in passes over the training text."""
    steps: int | None = None
    """Budget in optimizer steps."""
    num_lanes: int | Auto = "auto"
    """B: stretches of the text that are read in parallel."""
    bptt_length: int | Auto = "auto"
    """T: characters per step and lane, through which the error is propagated back."""
    reset_probability: float = 0.05
    """Chance per step that a lane's state is the initial one, not the carried one, so that a model can also start."""
    learning_rate: float | Auto = "auto"
    """Peak learning rate, after the warm-up."""
    final_learning_rate: float = 0.02
    """Learning rate at the end of the cosine, as a share of the peak."""
    warmup_steps: int = 50
    """Steps over which the learning rate rises linearly (at most a tenth of all steps)."""
    muon_scale: float = 2.0
    """Muon's learning rate, for the matrices of the recurrent layers, as a multiple of AdamW's; 0: AdamW for all."""
    beta1: float = 0.9
    """AdamW's decay of gradients; 0 makes it RMSProp."""
    beta2: float = 0.99
    """AdamW's decay of squared gradients."""
    weight_decay: float = 0.1
    """Weight decay, on weight matrices only."""
    clip_norm: float = 1.0
    """Largest global gradient norm (Pascanu 2013)."""
    weight_average: float = 0.99
    """Decay per step of the averaged weights that are evaluated, sampled and saved; 0 turns averaging off."""

    seed: int = 0
    """Seeds the initial weights, the dropout and the samples."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: str = "auto"
    """fp32 or bf16 (autocast); auto: bf16 where the processor has instructions for it and it pays."""
    threads: int | Auto = "auto"
    """Processor threads; auto: as many as measure fastest (fewer, beside a busy neighbour)."""
    evaluate_every: int | Auto = "auto"
    """Steps between two validations."""
    save_every: int | Auto = "auto"
    """Steps between two saves."""
    keep: int = 2
    """How many saved steps stay besides `best` and `latest`."""

    def __post_init__(self) -> None:
        for name in FIELD_NAMES:
            value = getattr(self, name)
            if isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, name, value)
            if not _is_of_kind(value, name):
                raise UsageError(f"{name} is {reprlib.repr(value)[:200]}; it must be {_wanted(name)}.")
            if isinstance(value, int) and abs(value) >= LARGEST_NUMBER:
                raise UsageError(f"{name} is {_spell(value)}; no setting is so large.")
            if name in _RANGES and value is not None and (value != "auto" or name in _CHOICES):
                allowed, is_allowed = _RANGES[name]
                if not is_allowed(value):
                    hint = did_you_mean(value, _CHOICES[name]) if name in _CHOICES else ""
                    if name == "encoding":
                        hint = _near_encoding(value)
                    raise UsageError(f"{name} is {_spell(value)}; it must be {allowed}.{hint}")
        if self.alphabet == "byte" and self.encoding != "utf-8":
            raise UsageError(f"encoding is {self.encoding}; the byte alphabet takes bytes as they are. Leave one out.")
        if self.cell == "unitary" and self.hidden_size != "auto" and self.hidden_size % 2:
            raise UsageError(f"hidden_size is {self.hidden_size}; a unitary cell needs an even one.")
        if self.omega and (self.cell not in ("auto", "rnn") or self.zoneout):
            raise UsageError(f"omega is {self.omega:g}; it needs --cell rnn, without zoneout.")
        if self.weight_drop and self.cell == "irnn":
            raise UsageError(
                f"weight_drop is {self.weight_drop:g}; what is kept is scaled up, and an irnn's state would grow "
                "without bound. Use dropout or zoneout."
            )
        if self.initial_state == "learned" and self.reset_probability == 0:
            raise UsageError("reset_probability is 0; an initial_state is learned only where a state starts anew.")
        if self.depth == "dilated" and self.num_layers != "auto" and self.num_layers > 12:
            raise UsageError(
                f"num_layers is {self.num_layers}; dilated layers may be at most 12 (2^11 characters back)."
            )
        if sum(getattr(self, name) is not None for name in BUDGETS) > 1:
            raise UsageError("Give one budget only: minutes, epochs or steps.")


def resolved(value: int | Auto) -> int:
    """A size that `auto` no longer stands in for. Only our own mistake can leave one open."""
    assert not isinstance(value, str), "an `auto` was left in the configuration"
    return value


# What Python calls an encoding turns bytes into text, but for these; and some encodings have no second name.
_NO_TEXT = {"base64_codec", "bz2_codec", "hex_codec", "mbcs", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"}
_ENCODINGS = {
    *(name for pair in aliases.items() if pair[1] not in _NO_TEXT for name in pair if re.fullmatch("[a-z0-9_]+", name)),
    *("utf_8_sig", "koi8_u", "koi8_t", "cp720", "cp737", "cp856", "cp874", "cp875"),
}


def _plain_encoding(name: str) -> str:
    return re.sub("[ _-]+", "_", name[:40].lower())


def _near_encoding(name: str) -> str:
    return did_you_mean(_plain_encoding(name), sorted(_ENCODINGS)).replace("_", "-")


_CHOICES = {
    "alphabet": ALPHABETS,
    "cell": ("auto", *CELLS),
    "depth": DEPTHS,
    "initial_state": INITIAL_STATES,
    "device": DEVICES,
    "precision": PRECISIONS,
}

_RANGES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "corpus": (
        f"shorter than {LONGEST_NAMES:,} bytes in all: name the files' folder, or put their pattern in quotes",
        lambda names: sum(len(name.encode("unicode_escape")) + 5 for name in names) < LONGEST_NAMES,
    ),
    **{name: (f"one of {', '.join(words)}", words.__contains__) for name, words in _CHOICES.items()},
    "encoding": (
        "a text encoding that Python knows, such as utf-8, latin-1, cp1252 or utf-16",
        lambda name: len(name) <= 40 and name.isascii() and _plain_encoding(name) in _ENCODINGS,
    ),
    "min_count": ("at least 1", lambda n: n >= 1),
    "split": (
        "two or three positive shares, such as 90/10",
        lambda shares: len(shares) in (2, 3) and all(share > 0 and math.isfinite(share) for share in shares),
    ),
    "num_layers": ("between 1 and 64", lambda n: 1 <= n <= 64),
    "hidden_size": ("between 1 and 16384", lambda n: 1 <= n <= 16384),
    "embedding_size": ("between 1 and 16384", lambda n: 1 <= n <= 16384),
    "dropout": ("at least 0 and below 1", lambda p: 0 <= p < 1),
    **{name: ("at least 0 and below 1", lambda p: 0 <= p < 1) for name in ("input_dropout", "weight_drop", "zoneout")},
    "omega": ("at least 0 and finite", lambda w: w >= 0 and math.isfinite(w)),
    "forget_bias": ("a finite number", math.isfinite),
    "minutes": ("more than 0 and at most 100000", lambda m: 0 < m <= 1e5),
    "epochs": ("more than 0 and at most 100000", lambda e: 0 < e <= 1e5),
    "steps": ("between 1 and 10^9", lambda n: 1 <= n <= 10**9),
    "num_lanes": ("between 1 and 65536", lambda n: 1 <= n <= 65536),
    "bptt_length": ("between 1 and 65536", lambda n: 1 <= n <= 65536),
    "reset_probability": ("between 0 and 1", lambda p: 0 <= p <= 1),
    "learning_rate": ("more than 0 and at most 10", lambda r: 0 < r <= 10),
    "final_learning_rate": ("between 0 and 1", lambda r: 0 <= r <= 1),
    "warmup_steps": ("at least 0", lambda n: n >= 0),
    "muon_scale": ("at least 0 and finite", lambda s: s >= 0 and math.isfinite(s)),
    **{name: ("at least 0 and below 1", lambda b: 0 <= b < 1) for name in ("beta1", "beta2")},
    "weight_decay": ("at least 0 and finite", lambda d: d >= 0 and math.isfinite(d)),
    "clip_norm": ("more than 0", lambda c: c > 0),
    "weight_average": ("at least 0 and below 1", lambda a: 0 <= a < 1),
    "threads": ("between 1 and 1024", lambda n: 1 <= n <= 1024),
    "seed": ("between 0 and 2^32 - 1", lambda s: 0 <= s < 2**32),
    "evaluate_every": ("at least 1", lambda n: n >= 1),
    "save_every": ("at least 1", lambda n: n >= 1),
    "keep": ("at least 0", lambda n: n >= 0),
}

_TYPES: dict[str, Any] = get_type_hints(Config)
AUTO_FIELDS = tuple(name for name, hint in _TYPES.items() if Auto in get_args(hint))
"""Fields that `auto` stands in for until a run begins."""
FIELD_NAMES = tuple(field.name for field in fields(Config))


def _kinds_of(hint: Any) -> tuple[Any, ...]:
    """The members of a union, in order; any other type alone."""
    is_union = isinstance(hint, UnionType) or get_origin(hint) is Union
    return tuple(
        hint if hint == Auto else get_origin(hint) or hint for hint in (get_args(hint) if is_union else (hint,))
    )


_KINDS: dict[str, tuple[Any, ...]] = {name: _kinds_of(hint) for name, hint in _TYPES.items()}


def _is_of_kind(value: object, name: str) -> bool:
    if isinstance(value, bool) or bool in _KINDS[name]:
        return isinstance(value, bool) and bool in _KINDS[name]
    if name in ("corpus", "split"):
        inner: Any = str if name == "corpus" else (int, float)
        return isinstance(value, tuple) and all(isinstance(v, inner) and not isinstance(v, bool) for v in value)
    # A whole number is a number; `auto` is the one word that may stand in its place.
    return any(
        value == "auto" if kind == Auto else isinstance(value, (int, float) if kind is float else kind)
        for kind in _KINDS[name]
    )


def _wanted(name: str) -> str:
    return _RANGES[name][0] if name == "split" else " or ".join(_KIND_NAMES[kind] for kind in _KINDS[name])


def _show(value: object) -> str:
    # A list is cut short before it is spelled: a few YAML aliases can unfold into one that fills the memory.
    is_short = isinstance(value, str | int | float | None)
    return repr((_spell(value) if is_short else reprlib.repr(value))[:80])


def _spell(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 10_000:  # which Python does not spell
        return "a number of thousands of digits"
    text = "/".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def check_field_name(name: str) -> str:
    """Return `name` if a configuration has such a field; else raise UsageError with the nearest spelling."""
    if name in FIELD_NAMES:
        return name
    name = name[:60]
    hint = did_you_mean(name, FIELD_NAMES) or f" The fields are {', '.join(FIELD_NAMES)}."
    raise UsageError(f"There is no configuration field {name!r}.{hint}")


def parse_value(name: str, value: object) -> Any:
    """Turn what YAML, the environment or a flag gave for field `name` into the field's type.

    Text is accepted for numbers (`1e-3` is text to YAML 1.1), `90/10` or a list for tuples.
    Raises UsageError naming the field and the value.
    """
    kinds = _KINDS[check_field_name(name)]
    if isinstance(value, str):
        value = value.strip()
    if NoneType in kinds and value in (None, "", "null", "none"):
        return None
    if Auto in kinds and value == "auto":
        return "auto"
    try:
        if bool in kinds:
            return _WORDS[str(value).lower()]
        if int in kinds or float in kinds:
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise ValueError
            return _whole_number(value) if int in kinds else float(value)
        if str in kinds:
            if not isinstance(value, str):
                raise ValueError
            return value
        if name == "split":
            parts = value.replace(",", "/").split("/") if isinstance(value, str) else value
            if not isinstance(parts, list | tuple) or any(isinstance(part, bool) for part in parts):
                raise ValueError
            return tuple(float(part) for part in parts)
        parts = value.split(os.pathsep) if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
            raise ValueError
        return tuple(parts)
    except (ValueError, OverflowError, TypeError, KeyError):
        raise UsageError(f"{name} is {_show(value)}; it must be {_wanted(name)}.") from None


def _whole_number(value: int | float | str) -> int:
    try:
        return int(value) if not isinstance(value, float) else int(str(value))
    except ValueError:
        number = float(value)
        if number != int(number):
            raise
        return int(number)


_WORDS = {"true": True, "false": False}
_KIND_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a word",
    bool: "true or false",
    NoneType: "null",
    tuple: "a list",
    Auto: "auto",
}
