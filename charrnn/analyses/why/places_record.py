"""Why a model predicts a character at many places: the record, and how it is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from charrnn.analyses.why.one_place import EFFECT_ENDS, EFFECT_SCALE, as_text
from charrnn.analyses.why.sentences import NUM_NEAR, SMALL_EFFECT, a_character, percentage
from charrnn.cells.records import CellIndex, ColouredText
from charrnn.errors import counted
from charrnn.system.display import Displayable
from charrnn.views.charts import line_plot, numbered_line
from charrnn.views.drawing import GREY, MARKS, Drawing, PlotLine
from charrnn.views.heatmap import HeatMap, Legend
from charrnn.views.scores import ends_text
from charrnn.views.tables import Columns, records_table
from charrnn.views.theme import all_visible, shown_character

NUM_ROWS = 10
"""Earlier characters that are listed, unless another number is asked for."""
LEAST_CARRIED = 3
"""The fewest places at which an entry must carry most to be listed: the share of one place says
little of others."""
NUM_LINES = 6
"""Earlier characters that are drawn in the chart."""
ABOUT_COLUMNS = (
    f"strongest: the share of the places at which it has the largest effect of all but the last"
    f" {NUM_NEAR}, of at least {SMALL_EFFECT:g} nats; back: its median distance there; effect: of"
    f" the last one before those {NUM_NEAR}, in nats, over all places that have one; chance: the"
    f" size of the effects of three others at like distances; untrained: in an untrained twin"
)
"""The explanation of the table."""

ABOUT_ROLES = (
    "it: whether {it} opens or closes there, by whether an even or an odd number of its kind stands"
    " before it in the paragraph"
)
"""The explanation of the first column, which a sign has that opens and closes."""


@dataclass(frozen=True, kw_only=True)
class PlaceCarrier:
    """An entry that carries the effect of an earlier character at some places.

    It tells whether one cell does the work at most places, or another one at each: `num_most`
    beside `num_places`.
    """

    name: str
    """`0:97` for a unit, with its layer; `entry 97` of a vector that mixes units."""
    layer: int
    """Its layer, from 0."""
    entry: int
    """The index of the entry, from 0."""
    is_unit: bool
    """Whether it is the output of a unit."""
    num_most: int
    """The places at which it carries most of the change of the logit."""
    num_places: int
    """The places at which the effect is not small."""
    share: float
    """Its median share of the change where it carries most."""
    follows: str | None = None
    """The detector that its cell was found to follow; None if none is known."""


@dataclass(frozen=True, kw_only=True)
class AtDistance:
    """The effects in a range of distances.

    `EarlierCharacter.by_distance` consists of them: they show from which distance on the model has
    forgotten the character.
    """

    distance: float
    """The mean distance, in characters."""
    effect: float
    """The mean effect in nats."""
    chance: float | None
    """The mean size of the effects of other characters at like distances; None without any."""
    num_places: int
    """The places in the range."""


@dataclass(frozen=True, kw_only=True)
class EarlierCharacter:
    """What an earlier character does for the predicted one, over many places.

    `WhyPlaces.rows` consists of them. It is a finding if `is_above_chance` is true and `untrained`
    is near 0.
    """

    character: str
    """The earlier character."""
    role: str
    """`opens` or `closes` for a sign that does both; else ""."""
    here: str
    """The same of the predicted character: the places of the row."""
    num_places: int
    """The places at which the predicted character has this role."""
    num_strongest: int
    """The places at which the earlier character is the strongest of all but the last four."""
    distance: float
    """Its median distance there, in characters."""
    num_measured: int
    """The places at which it occurs before the last four characters."""
    effect: float
    """The mean effect of the last one that occurs there, in nats."""
    low: float | None
    """The lower end of the 95 % interval of the effect; None for a single place."""
    high: float | None
    """The upper end of the interval."""
    chance: float | None
    """The mean size of the effects of three other characters at like distances; None without
    any."""
    untrained: float | None
    """The mean effect in an untrained twin, at fewer places; None where it does not occur."""
    carriers: tuple[PlaceCarrier, ...]
    """The two entries that carry most at most places."""
    by_distance: tuple[AtDistance, ...] = field(repr=False)
    """The mean effect by distance."""

    @property
    def share(self) -> float:
        """The share of the places at which it is the strongest.

        It says how often the character decides, and `effect` how much.
        """
        return self.num_strongest / self.num_places

    @property
    def is_above_chance(self) -> bool:
        """Whether the interval of the effect lies above chance.

        Any character changes a prediction a little; this asks whether this one does more than
        others that stand as far back.
        """
        return self.low is not None and self.chance is not None and self.low > self.chance

    @property
    def label(self) -> str:
        """The character as it is shown, with its role."""
        shown = shown_character(self.character or "?")
        if self.role:
            shown += f" ({self.role})"
        return shown


@dataclass(frozen=True, kw_only=True)
class ExamplePlace:
    """A place, and what each character before it does.

    It makes a row of the table believable: the reader sees the effect in a text.
    """

    characters: tuple[str, ...]
    """The characters before it."""
    effects: tuple[float, ...]
    """The effect of each of them, in nats."""
    distance: int
    """The distance of the strongest of all but the last four."""
    effect: float
    """Its effect, in nats."""
    probability: float
    """The probability of the predicted character."""


@dataclass(frozen=True, kw_only=True)
class WhyPlaces(Displayable):
    """Why a model predicts a character, over many places of a text where it comes next.

    `Model.why_places` returns it. Its `rows` say what holds in general, where `Why` says it of one
    place.
    """

    name: str
    """The name of the model."""
    character: str
    """The predicted character; U+0000 is the end of a document."""
    num_places: int
    """The places that were read."""
    num_available: int
    """The places that the text has."""
    num_twin_places: int
    """The places that the untrained twin has read."""
    num_without: int
    """The places at which no character but the last four has an effect of 0.1 nats."""
    rows: tuple[EarlierCharacter, ...]
    """The earlier characters that are the strongest at more than 2 % of the places, the most
    frequent first."""
    examples: tuple[ExamplePlace, ...] = field(repr=False)
    """A place from each third of the distances of the first row."""
    layers: tuple[int, ...]
    """The layers whose vectors the output layer reads, from 0."""
    are_units: bool
    """Whether the entries of these vectors are units, as in `Why`."""
    carriers: tuple[PlaceCarrier, ...] = field(repr=False)
    """The entries that carry most of the strongest effect of all but the last four characters, at
    any of the places: the entry that does so at most places first."""

    def following(self, follows: Mapping[CellIndex, str]) -> "WhyPlaces":
        """Return the record with the detectors that its cells were found to follow.

        What a cell follows is found by surveys, before or after the places were read: it is not
        kept with them.
        """
        rows = []
        for row in self.rows:
            rows.append(replace(row, carriers=_following(row.carriers, follows)))
        return replace(self, rows=tuple(rows), carriers=_following(self.carriers, follows))

    def view(self) -> Sequence[RenderableType]:
        """Return the table, what carries most, and three places as coloured text.

        A notebook shows it by itself. `tables` and `example_pictures` are its two halves.
        """
        return [*self.tables(), *self.example_pictures()]

    def tables(self, num_rows: int = NUM_ROWS) -> list[RenderableType]:
        """Return the table of earlier characters, and that of what carries their effects."""
        of = ""
        if self.num_available > self.num_places:
            of = f" of {self.num_available:,}"
        title = (
            f"Why {a_character(self.character)} comes next, by {all_visible(self.name)}: at"
            f" {self.num_places:,}{of} places, with up to 200 characters before each"
        )
        pictures: list[RenderableType] = [Text(title, style="bold")]
        rows = self.rows[:num_rows]
        if not self.rows:
            pictures.append(Text("No earlier character is the strongest at more than 2 % of them."))
        if rows:
            pictures += [
                records_table(COLUMNS, rows, left=("it", "earlier")),
                Text(ABOUT_COLUMNS, style="dim"),
            ]
            if any(row.here for row in rows):
                next_one = a_character(self.character)
                pictures.append(Text(ABOUT_ROLES.format(it=next_one), style="dim"))
            carried = []
            for row in rows:
                for carrier in row.carriers:
                    if carrier.num_most >= LEAST_CARRIED:
                        carried.append((row, carrier))
            if carried:
                pictures.append(records_table(CARRIER_COLUMNS, carried, left=CARRIED_LEFT))
        if self.num_without:
            pictures.append(
                Text(
                    f"At {counted(self.num_without, 'place')} there are only many small reasons: no"
                    f" character but the last {NUM_NEAR} has an effect of {SMALL_EFFECT:g} nats."
                )
            )
        return pictures

    def example_pictures(self) -> list[RenderableType]:
        """Return the three places as text coloured by effect."""
        pictures: list[RenderableType] = []
        for example in self.examples:
            label = self.rows[0].label
            caption = (
                f"{label} {counted(example.distance, 'character')} before: {example.effect:+.2f}"
                f" nats; the chance of {a_character(self.character)} is"
                f" {percentage(example.probability)}"
            )
            pictures += [Text(), Text(caption, style="bold")]
            if example is self.examples[0]:
                pictures.append(Legend(EFFECT_ENDS, underlined="this character"))
            index = len(example.characters) - example.distance
            coloured = ColouredText(
                text="".join(map(as_text, example.characters)),
                values=example.effects,
                inside=tuple(number == index for number in range(len(example.effects))),
            )
            pictures.append(HeatMap(coloured, EFFECT_SCALE))
        return pictures

    def chart(self, num_rows: int = NUM_LINES) -> Drawing:
        """Return the chart of the mean effect by distance.

        It has a line for each earlier character, and a grey one for chance: where the two come
        together, the model no longer remembers the character. `tables` has the means over all
        distances.

        Args:
            num_rows: The largest number of earlier characters, at most 6.

        Returns:
            A renderable of rich.

        Example:
            >>> found = model.why_places(text, " ", num_places=12)
            >>> len(found.chart().rows)
            1
        """
        lines = []
        for number, row in enumerate(self.rows[: min(num_rows, NUM_LINES)]):
            name = row.label
            if row.here:
                name += f", where it {row.here}"
            points = [(point.distance, point.effect) for point in row.by_distance]
            lines.append(numbered_line(number, name, points))
        chances: dict[float, float] = {}
        for row in self.rows[:1]:
            for point in row.by_distance:
                if point.chance is not None:
                    chances[point.distance] = point.chance
        lines.append(
            PlotLine("chance", points=sorted(chances.items()), colour=GREY, mark=MARKS[-1])
        )
        plot = line_plot(lines, x_label="distance (characters)", y_label="mean effect (nats)")
        name = all_visible(self.name)
        title = f"Why {a_character(self.character)} comes next, by {name}: earlier characters"
        return Drawing(title, rows=[[plot]])

    def to_json(self) -> dict[str, Any]:
        """Return all fields, each row with its `share` and whether it is above chance.

        It keeps everything, with the effects by distance; `to_rows` has a row for each character.

        Returns:
            A dictionary.

        Example:
            >>> found = model.why_places(text, " ")
            >>> found.to_json()["num_places"]
            100
        """
        data = asdict(self)
        for row, entry in zip(self.rows, data["rows"], strict=True):
            entry |= {"share": row.share, "is_above_chance": row.is_above_chance}
        return data

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a row of a table for each earlier character, without its points.

        It is for a spreadsheet or a data frame; `to_json` also has the effects by distance and the
        examples.

        Returns:
            A list of dictionaries, the columns of a row by name.

        Example:
            >>> found = model.why_places(text, " ", num_places=12)
            >>> len(found.to_rows()) == len(found.rows)
            True
        """
        rows = []
        for row in self.to_json()["rows"]:
            del row["by_distance"]
            rows.append(row)
        return rows


def _following(
    carriers: Sequence[PlaceCarrier], follows: Mapping[CellIndex, str]
) -> tuple[PlaceCarrier, ...]:
    """Return carriers with the detector that each was found to follow."""
    named = []
    for carrier in carriers:
        detector = None
        if carrier.is_unit:
            detector = follows.get((carrier.layer, carrier.entry))
        named.append(replace(carrier, follows=detector))
    return tuple(named)


COLUMNS: Columns = {
    "it": "{here}",
    "earlier": "{label}",
    "strongest": "{share:.0%}",
    "back": "{distance:.0f}",
    "effect": "{effect:+.2f}",
    "95 % interval": lambda row: ends_text(row.low, row.high, form="+.2f"),
    "chance": lambda row: "" if row.chance is None else f"{row.chance:.3f}",
    "untrained": lambda row: "" if row.untrained is None else f"{row.untrained:+.3f}",
}
"""The columns of the table of earlier characters."""
CARRIED_LEFT = ("it", "earlier character", "carried by", "follows")
"""The columns of words in the next table."""
CARRIER_COLUMNS: Columns = {
    "it": lambda pair: pair[0].here,
    "earlier character": lambda pair: pair[0].label,
    "carried by": lambda pair: pair[1].name,
    "most at": lambda pair: f"{pair[1].num_most} of {pair[1].num_places} places",
    "median share": lambda pair: f"{pair[1].share:.0%}",
    "follows": lambda pair: pair[1].follows or "",
}
"""The columns of the table of the entries that carry most."""
