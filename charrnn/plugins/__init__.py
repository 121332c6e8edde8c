"""What can be removed: analyses, reports, formats, programs for the whole terminal, and a server.

Each plugin adds to charrnn by the hooks that other packages use, too.
"""
