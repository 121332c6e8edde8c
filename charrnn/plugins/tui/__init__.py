"""Programs that use the whole terminal: a demonstration, and the explorer of cells."""
