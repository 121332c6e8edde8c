"""Why a model predicts a character at many places of a text: which earlier characters matter, and
which entries carry their effects.

Shapes: N characters before a place, P places.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

import numpy as np

from charrnn.analyses.why import followed_by, predict_from
from charrnn.analyses.why.leaving_out import (
    NetworkReader,
    Omissions,
    Reader,
    layers_read_by_output,
    read_without,
)
from charrnn.analyses.why.places_record import (
    AtDistance,
    EarlierCharacter,
    ExamplePlace,
    PlaceCarrier,
    WhyPlaces,
)
from charrnn.analyses.why.sentences import NUM_NEAR, SMALL_EFFECT, a_character
from charrnn.analyses.why.target import target_id
from charrnn.errors import DataError, UsageError, counted, named
from charrnn.generation.sample_options import DEFAULT_UNKNOWN
from charrnn.model.shapes import Architecture
from charrnn.statistics.intervals import estimate
from charrnn.system.arrays import BoolArray, Float64Array, Int64Array
from charrnn.system.files import JSON
from charrnn.system.progress import task
from charrnn.text.vocab import IdArray
from charrnn.trained_model import NUM_LEFT_OUT, NUM_PLACES, TrainedModel, untrained_baseline

VERSION = 2
"""The number of the definition, which is part of the key of saved results."""
MIN_PLACES = 10
"""The fewest places of which anything is said."""
NUM_TWIN_PLACES = 20
"""Places that the untrained twin reads."""
NUM_AT_ONCE = 4
"""Places that are read side by side: 800 rows, whose states fit into the caches of a core."""
NUM_CARRIERS = 2
"""Entries that are named for each earlier character."""
LEAST_SHARE = 0.02
"""The share of the places at which an earlier character must be the strongest to have a row."""
NUM_OTHERS = 3
"""Other characters at a like distance, by which chance is measured."""
LIKE = 0.2
"""The share by which a like distance may differ."""
SIGNS = frozenset('"`*_|$')
"""Characters that open and close with one sign. An apostrophe is none: it stands in words."""
PARAGRAPH_CHARS = 5_000
"""Characters before a place in which its paragraph may begin."""
DISTANCES = (5, 10, 20, 50, 100, 201)
"""The ends of the ranges of distances in the chart."""
MIN_POINT = 3
"""The fewest places that make a point of the chart."""
BLOCK = 1 << 22
"""Characters that are searched at once: the ids of a large text are on the disk."""

Kind = tuple[int, str]
"""An earlier character: its id, and whether it `opens` or `closes`; "" for most characters."""


@dataclass(frozen=True, eq=False)
class MeasuredPlace:
    """A place, and the characters before it that were left out, the first of them first."""

    position: int
    """Its index in the text."""
    ids: Int64Array
    """(N,)"""
    kinds: tuple[Kind, ...]
    """The kind of each of the N characters."""
    role: str
    """Whether the predicted character opens or closes here; "" for most characters."""
    effects: Float64Array
    """(N,): of each of them; nan of those that were not left out."""
    entries: Int64Array
    """(N,): the entry that carries most of the change of the logit, counted over all layers."""
    shares: Float64Array
    """(N,): its share."""
    probability: float
    """The probability of the predicted character."""

    def distance(self, index: int) -> int:
        """Return how many characters before the place one of the N characters stands."""
        return len(self.ids) - index

    def nearest(self, kind: Kind) -> int | None:
        """Return the index of the last character of a kind before the last NUM_NEAR; None without
        one."""
        return nearest(self.kinds, kind)

    @property
    def strongest(self) -> int | None:
        """The index of the strongest character before the last NUM_NEAR; None if it is one of many
        small reasons."""
        further = np.abs(self.effects[:-NUM_NEAR])
        index = int(further.argmax())
        if further[index] < SMALL_EFFECT:
            return None
        return index


def nearest(kinds: Sequence[Kind], kind: Kind) -> int | None:
    """Return the index of the last character of a kind before the last NUM_NEAR, of all characters
    before a place; None without one."""
    for index in range(len(kinds) - NUM_NEAR - 1, -1, -1):
        if kinds[index] == kind:
            return index
    return None


def why_places(
    model: TrainedModel,
    ids: IdArray,
    *,
    first: int,
    character: str | bytes,
    num_places: int = NUM_PLACES,
    seed: int = 0,
    unknown: str = DEFAULT_UNKNOWN,
    part: str = "",
    network: NetworkReader | None = None,
) -> WhyPlaces:
    """Explain why a model predicts a character at places of a text where it comes next.

    `Model.why_places` encodes the text and calls it; `why` explains a single prediction.

    Args:
        model: The model.
        ids: The ids of the text and of its context.
        first: The index of the first character of the text.
        character: The predicted character, or `end`.
        num_places: The most places, which are spread over the text.
        seed: The places that are drawn.
        unknown: What happens to a character that the model lacks: `error` or `nearest`.
        part: The name of the part of the run's text, for the key of saved results.
        network: What reads in place of the model's own network: then nothing is saved.

    Returns:
        A `WhyPlaces`.

    Raises:
        UsageError: The character is `next`, several, or cannot come next.
        DataError: It comes next at under 10 places, or the model lacks it.
    """
    target = target_id(model, character, unknown=unknown).id
    if target is None:
        raise UsageError(
            f"{named('character', 'next')} is another character at every place: name one, or `end`."
        )

    digest = hashlib.sha256(np.ascontiguousarray(ids[max(0, first - NUM_LEFT_OUT) :]).tobytes())
    key: dict[str, JSON] = {
        "ids": digest.hexdigest(),
        "part": part,
        "character": target,
        "places": num_places,
        "seed": seed,
        "version": VERSION,
    }
    found = None
    if network is None:
        found = model.cache.load("why places", key, result=WhyPlaces)
    if found is None:
        found = _measure(
            model, ids, first=first, target=target, num_places=num_places, seed=seed, own=network
        )
        if network is None:
            model.cache.save("why places", key, value=found)
    return found.following(followed_by(model))


def _measure(
    model: TrainedModel,
    ids: IdArray,
    *,
    first: int,
    target: int,
    num_places: int,
    seed: int,
    own: NetworkReader | None,
) -> WhyPlaces:
    generator = np.random.default_rng(seed)
    positions = find_places(ids, first=first, target=target, end_id=model.config.end_id)
    num_available = len(positions)
    if num_available < MIN_PLACES:
        name = a_character(model.vocab.character(target))
        raise DataError(
            f"{name} comes next at {counted(num_available, 'place')} of this text, with enough"
            f" characters before it; at least {MIN_PLACES} are needed. Give a longer"
            f" {named('text')}, or another character."
        )

    # One place from each of as many equal parts of all places, so that they are spread.
    chosen = positions
    if num_available > num_places:
        ends = np.linspace(0, num_available, num_places + 1).astype(np.int64)
        chosen = positions[generator.integers(ends[:-1], ends[1:])]

    reader = own or NetworkReader(model.network)
    twin = chosen[:: max(1, len(chosen) // NUM_TWIN_PLACES)][:NUM_TWIN_PLACES]
    with task("leaving out", total=len(chosen) + len(twin), unit="places") as advance:
        places = []
        for batch in _batches(chosen):
            places += read_places(model, reader, ids, positions=batch, target=target)
            advance(len(batch))

        # Of the twin, only the effects of the characters that have a row are shown.
        untrained = read_places(
            model,
            NetworkReader(untrained_baseline(model)),
            ids,
            positions=twin,
            target=target,
            only=[kind for _, kind, _ in kinds_of_rows(places)],
        )
        advance(len(twin))
    return summarize(
        model,
        places,
        untrained=untrained,
        target=target,
        num_available=num_available,
        generator=generator,
    )


def _batches(positions: Int64Array) -> Iterable[Int64Array]:
    return np.split(positions, range(NUM_AT_ONCE, len(positions), NUM_AT_ONCE))


def find_places(ids: IdArray, *, first: int, target: int, end_id: int | None) -> Int64Array:
    """Return the places of a text, from index `first` on, at which a character comes next and at
    least one stands before the last NUM_NEAR: ascending."""
    found = []
    last_end = -1
    for begin in range(0, len(ids), BLOCK):
        block = np.asarray(ids[begin : begin + BLOCK])
        positions = begin + np.flatnonzero(block == target)
        if end_id is None:
            least = NUM_LEFT_OUT
            starts: Int64Array = np.zeros(len(positions), np.int64)
        else:
            # The END of the document before, which its characters follow.
            least = NUM_NEAR + 2
            ends = np.append(last_end, begin + np.flatnonzero(block == end_id))
            last_end = int(ends[-1])
            starts = ends[np.searchsorted(ends, positions) - 1]
        found.append(positions[(positions >= first) & (positions - starts >= least)])
    return np.concatenate(found)


def read_places(
    model: TrainedModel,
    reader: Reader,
    ids: IdArray,
    *,
    positions: Int64Array,
    target: int,
    only: Collection[Kind] | None = None,
) -> list[MeasuredPlace]:
    """Read the text before each of P places, and again without each of its characters, or without
    the last one of these kinds only."""
    windows = _windows(ids, positions, end_id=model.config.end_id)
    padded = _padded(windows, end_id=model.config.end_id)

    # Which of their characters are left out.
    all_kinds = []
    here = []
    left_out = []
    for position, window in zip(positions.tolist(), windows, strict=True):
        roles = _roles(model, ids, position=position, num_chars=len(window), target=target)
        kinds = tuple(zip(window.tolist(), roles, strict=False))
        indices = np.arange(len(window))
        if only is not None:
            found = {nearest(kinds, kind) for kind in only}
            indices = np.array(sorted(index for index in found if index is not None), np.int64)
        all_kinds.append(kinds)
        here.append(roles[-1])
        left_out.append(len(padded) - len(window) + indices)

    # What that changes.
    omissions = Omissions.of(left_out)
    joined = read_without(reader, padded, omissions)
    predicted = predict_from(model, reader, joined, texts=omissions.texts)
    targets = np.full(len(windows), target)
    effects = predicted.effects(targets)
    terms = np.concatenate(list(predicted.terms(targets)), axis=-1)
    entries = np.abs(terms).argmax(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.take_along_axis(terms, entries[:, None], axis=-1)[:, 0] / terms.sum(axis=-1)

    places = []
    for number, (position, window) in enumerate(zip(positions.tolist(), windows, strict=True)):
        rows = np.flatnonzero(omissions.texts == number)
        indices = omissions.steps[rows] - (len(padded) - len(window))
        place = MeasuredPlace(
            position=position,
            ids=window,
            kinds=all_kinds[number],
            role=here[number],
            effects=np.full(len(window), np.nan),
            entries=np.zeros(len(window), np.int64),
            shares=np.full(len(window), np.nan),
            probability=float(np.exp(predicted.logprobs[number, target])),
        )
        place.effects[indices] = effects[rows]
        place.entries[indices] = entries[rows]
        place.shares[indices] = shares[rows]
        places.append(place)
    return places


def _windows(ids: IdArray, positions: Int64Array, *, end_id: int | None) -> list[Int64Array]:
    """Return the characters before each place, of its own document."""
    windows = []
    for position in positions.tolist():
        window = ids[max(0, position - NUM_LEFT_OUT) : position].astype(np.int64)
        if end_id is not None:
            ends = np.flatnonzero(window == end_id)
            if len(ends):
                window = window[ends[-1] + 1 :]
        windows.append(window)
    return windows


def _padded(windows: Sequence[Int64Array], *, end_id: int | None) -> Int64Array:
    """Return windows as texts of equal length (T, P). A shorter document has its END in place of
    the characters before it: each starts it anew."""
    length = max(map(len, windows))
    if end_id is None:
        return np.stack(windows, axis=1)
    padded = np.full((length + 1, len(windows)), end_id, np.int64)
    for number, window in enumerate(windows):
        padded[length + 1 - len(window) :, number] = window
    return padded


def _roles(
    model: TrainedModel, ids: IdArray, *, position: int, num_chars: int, target: int
) -> list[str]:
    """Return whether each of the characters before a place, and the target, opens or closes: by the
    number of its kind before it in its paragraph."""
    begin = max(0, position - PARAGRAPH_CHARS)
    characters = [model.vocab.character(id) for id in ids[begin:position].tolist()]
    characters.append(model.vocab.character(target))
    text = "".join(one if len(one) == 1 else " " for one in characters)
    roles = []
    for index in range(len(text) - num_chars - 1, len(text)):
        role = ""
        if text[index] in SIGNS:
            start = max(text.rfind("\n\n", 0, index), text.rfind("\0", 0, index), 0)
            role = "closes" if text.count(text[index], start, index) % 2 else "opens"
        roles.append(role)
    return roles


def kinds_of_rows(places: Sequence[MeasuredPlace]) -> list[tuple[str, Kind, int]]:
    """Return the earlier characters that have a row: the role of the predicted character, the kind
    of the earlier one, and the number of places at which it is the strongest."""
    found = []
    for here in sorted({place.role for place in places}):
        group = [place for place in places if place.role == here]
        counts: Counter[Kind] = Counter()
        for place in group:
            if place.strongest is not None:
                counts[place.kinds[place.strongest]] += 1
        for kind, count in counts.most_common():
            if count > max(1, LEAST_SHARE * len(group)):
                found.append((here, kind, count))
    return found


def summarize(
    model: TrainedModel,
    places: Sequence[MeasuredPlace],
    *,
    untrained: Sequence[MeasuredPlace],
    target: int,
    num_available: int,
    generator: np.random.Generator,
) -> WhyPlaces:
    """Make the rows of the earlier characters that matter at these places."""
    rows: list[EarlierCharacter] = []
    for here, kind, count in kinds_of_rows(places):
        group = [place for place in places if place.role == here]
        twins = [place for place in untrained if place.role == here]
        rows.append(_row(model, kind, group, twins=twins, count=count, generator=generator))
    rows.sort(key=lambda row: -row.num_strongest)

    strongest = []
    for place in places:
        if place.strongest is not None:
            strongest.append((place, place.strongest))
    architecture = Architecture(model.config)
    layers, are_units = layers_read_by_output(architecture, sums_outputs=model.config.sum_outputs)
    return WhyPlaces(
        name=model.name,
        character=model.vocab.character(target),
        num_places=len(places),
        num_available=num_available,
        num_twin_places=len(untrained),
        num_without=len(places) - len(strongest),
        rows=tuple(rows),
        layers=layers,
        are_units=are_units,
        carriers=_carriers(model, strongest),
        examples=_examples(model, places, rows),
    )


def _row(
    model: TrainedModel,
    kind: Kind,
    group: Sequence[MeasuredPlace],
    *,
    twins: Sequence[MeasuredPlace],
    count: int,
    generator: np.random.Generator,
) -> EarlierCharacter:
    id, role = kind
    distances = []
    for place in group:
        if place.strongest is not None and place.kinds[place.strongest] == kind:
            distances.append(place.distance(place.strongest))

    # The last character of the kind, wherever there is one: a mean over the places at which it is
    # the strongest would be above chance by the choice of the places alone.
    measured = [(place, index) for place in group if (index := place.nearest(kind)) is not None]
    effects = [float(place.effects[index]) for place, index in measured]
    others = [_others(place, index, generator) for place, index in measured]
    of_twin = [
        float(place.effects[index]) for place in twins if (index := place.nearest(kind)) is not None
    ]
    mean = estimate(fmean(effects), effects)
    return EarlierCharacter(
        character=model.vocab.character(id),
        role=role,
        here=group[0].role,
        num_places=len(group),
        num_strongest=count,
        distance=median(distances),
        num_measured=len(measured),
        effect=mean.mean,
        low=mean.low,
        high=mean.high,
        chance=_mean(value for values in others for value in values),
        untrained=_mean(of_twin),
        carriers=_carriers(model, measured)[:NUM_CARRIERS],
        by_distance=_by_distance(measured, others),
    )


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    if not listed:
        return None
    return fmean(listed)


def _others(place: MeasuredPlace, index: int, generator: np.random.Generator) -> list[float]:
    """Return the sizes of the effects of NUM_OTHERS other characters at a like distance."""
    distance = place.distance(index)
    indices = np.arange(len(place.ids) - NUM_NEAR)
    is_like: BoolArray = np.abs(indices - index) <= LIKE * distance
    is_like &= place.ids[: len(indices)] != place.ids[index]
    candidates = indices[is_like]
    chosen = generator.permutation(candidates)[:NUM_OTHERS]
    return [abs(float(effect)) for effect in place.effects[chosen]]


def _carriers(
    model: TrainedModel, measured: Sequence[tuple[MeasuredPlace, int]]
) -> tuple[PlaceCarrier, ...]:
    """Return the entries that carry most of the effect of a character at some place, of those at
    which the effect is not small: the entry that does so at most places first."""
    shares: dict[int, list[float]] = {}
    num_places = 0
    for place, index in measured:
        if abs(place.effects[index]) >= SMALL_EFFECT:
            num_places += 1
            shares.setdefault(int(place.entries[index]), []).append(float(place.shares[index]))
    carriers = []
    architecture = Architecture(model.config)
    layers, are_units = layers_read_by_output(architecture, sums_outputs=model.config.sum_outputs)
    for entry, of_entry in sorted(shares.items(), key=lambda item: -len(item[1])):
        number, unit = divmod(entry, architecture.hidden_size)
        layer = layers[number]
        name = f"{layer}:{unit}"
        if not are_units:
            name = f"entry {unit}"
            if len(layers) > 1:
                name += f" of layer {layer}"
        carriers.append(
            PlaceCarrier(
                name=name,
                layer=layer,
                entry=unit,
                is_unit=are_units,
                num_most=len(of_entry),
                num_places=num_places,
                share=median(of_entry),
            )
        )
    return tuple(carriers)


def _by_distance(
    measured: Sequence[tuple[MeasuredPlace, int]], others: Sequence[Sequence[float]]
) -> tuple[AtDistance, ...]:
    """Return the means in each range of distances that has enough places."""
    points = []
    for least, end in pairwise(DISTANCES):
        distances = []
        effects = []
        chances: list[float] = []
        for (place, index), of_others in zip(measured, others, strict=True):
            if least <= place.distance(index) < end:
                distances.append(place.distance(index))
                effects.append(float(place.effects[index]))
                chances += of_others
        if len(effects) >= MIN_POINT:
            points.append(
                AtDistance(
                    distance=fmean(distances),
                    effect=fmean(effects),
                    chance=_mean(chances),
                    num_places=len(effects),
                )
            )
    return tuple(points)


def _examples(
    model: TrainedModel, places: Sequence[MeasuredPlace], rows: Sequence[EarlierCharacter]
) -> tuple[ExamplePlace, ...]:
    """Return a place from each third of the distances at which the first row's character is the
    strongest: that of the median effect."""
    if not rows:
        return ()
    found = []
    for place in places:
        index = place.strongest
        if index is None or place.role != rows[0].here:
            continue
        id, role = place.kinds[index]
        if (model.vocab.character(id), role) == (rows[0].character, rows[0].role):
            found.append((place.distance(index), place, index))
    found.sort(key=lambda item: item[0])

    examples = []
    for third in np.array_split(np.arange(len(found)), 3):
        ranked = sorted((found[number] for number in third.tolist()), key=_effect)
        if ranked:
            distance, place, index = ranked[len(ranked) // 2]
            examples.append(
                ExamplePlace(
                    characters=tuple(map(model.vocab.character, place.ids.tolist())),
                    effects=tuple(place.effects.tolist()),
                    distance=distance,
                    effect=float(place.effects[index]),
                    probability=place.probability,
                )
            )
    return tuple(examples)


def _effect(found: tuple[int, MeasuredPlace, int]) -> float:
    _, place, index = found
    return float(place.effects[index])
