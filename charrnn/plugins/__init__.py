"""What can be removed: analyses, reports, formats, programs for the whole terminal, a server, and
formal languages.

Each plugin adds to charrnn by the hooks that other packages use, too.
"""
