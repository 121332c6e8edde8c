"""The keys of the explorer, and what they do."""

COMMAND = "explore"
"""The command whose options messages name."""
KEYS = (
    ("↑ ↓", "the cell before, the cell after"),
    ("Home End", "the first cell of the list, the last"),
    ("← →", "along the text, character by character"),
    ("j k", "a line of text down, up"),
    ("PgDn PgUp", "a page of text down, up"),
    ("1 to 9", "the cell of the list with that number"),
    ("Enter p", "the page of the cell: passages, what it writes, the cost of ablating it, values, what sets it"),
    ("d", "the direction of the cell's detector over several cells, in place of the cell, and back"),
    ("s S", "the next list of cells, the one before: the best for each detector, all by one detector, all"),
    ("/", "go to a cell, layer:unit"),
    ("t", "type a text; the cells follow. Backspace deletes"),
    ("Esc", "stop typing; once more: back to the text that was given"),
    ("c", "clamp the cell or the direction at a value, and compare what the model generates from the cursor on"),
    ("?", "these keys"),
    ("q", "quit; Ctrl-C too, from everywhere"),
)
"""Keys and what they do, for the help."""
COLOURS = "Red is a cell's -1, blue its +1."
"""What the colours mean, for the help."""
