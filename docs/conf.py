"""Sphinx: pages in Markdown, reference pages generated from what the project registers."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))

import generate  # noqa: E402

generate.write(HERE / "generated")

project = "attnflow"
release = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "notebooks"]
html_theme = "furo"
html_title = f"attnflow {release}"
html_show_copyright = False
html_copy_source = False
html_theme_options = {"top_of_page_buttons": []}
# no fonts or scripts from elsewhere
html_use_opensearch = ""
myst_heading_anchors = 3
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_rtype = False
suppress_warnings = ["myst.header"]
