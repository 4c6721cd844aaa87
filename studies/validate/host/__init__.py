"""Validation of kind `host`: this computer's own measurements against predictions on a chip made from its ceilings."""

from pathlib import Path

ERROR_TABLES = Path(__file__).parent / "error_tables"
"""What `attnflow validate host --json` said of each committed record, under the record's name."""
