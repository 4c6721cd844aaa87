"""Verbs of the command line, one file each; `studies.cli.verb` finds them."""
