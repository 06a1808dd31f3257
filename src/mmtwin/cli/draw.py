"""Draws pictures (SVG)."""

# thing: (module of cli/, what is drawn)
THINGS: dict[str, tuple[str, str]] = {}
EXAMPLES = """\
examples:
  mmtwin draw --help    what can be drawn

`mmtwin draw THING --help` shows a thing's options."""
