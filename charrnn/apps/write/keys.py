"""The keys of the editor, and what they do."""

COMMAND = "write"
"""The command whose options messages name."""
KEYS = (
    ("Tab", "five continuations; once more: five others. Any other key but a digit dismisses them"),
    ("1 to 5", "insert that one; Ctrl-Z takes it out again"),
    ("Esc", "dismiss the continuations, or stop looking for them"),
    ("Ctrl-U F3", "where continuations end: word, line or sentence"),
    ("Ctrl-T F2", "the temperature of the samples"),
    ("F4", "colours: none, surprise, the cell of --color"),
    ("Ctrl-Z Ctrl-Y", "undo, redo"),
    ("Ctrl-S", "save; F5 saves under another name"),
    ("Ctrl-X Ctrl-C Ctrl-V", "cut, copy and paste what is selected (Shift with the arrow keys)"),
    ("Ctrl-Q", "quit; asks if something is not saved. So does Ctrl-C where nothing is selected"),
    ("F1", "these keys, and how the model reads the draft"),
)
"""Keys and what they do, for the help."""
