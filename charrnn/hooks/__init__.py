"""What other installed packages add to charrnn.

`specifications` lists every kind of extension, one hook each. `manager` finds the packages that
implement them, and asks them.
"""

import pluggy

hookspec = pluggy.HookspecMarker("charrnn")
"""Marks a kind of extension, in `specifications`."""
hookimpl = pluggy.HookimplMarker("charrnn")
"""Marks a function of a package that returns what it adds; it has the name of the hook."""
