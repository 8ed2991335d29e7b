"""edgekd: one recipe in, one device-proven student out. See docs/design.md for the nouns and rooms."""

__version__ = "0.1.0"
