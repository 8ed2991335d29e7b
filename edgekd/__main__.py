"""``python -m edgekd`` is ``edgekd``."""

from edgekd.cli import main

main()
