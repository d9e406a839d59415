"""Settings of Sphinx for the documentation site, which `docs/build_site.py` builds: `make docs`."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mygo

project = "MyGO"
author = "The MyGO authors"
copyright = "The MyGO authors, Apache-2.0"  # noqa: A001  Sphinx calls it so
release = version = mygo.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
default_role = "py:obj"  # a name in single backticks becomes a link where there is such an object
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
python_use_unqualified_type_names = True

html_theme = "furo"  # brings its fonts and scripts along: the site needs no network
html_title = f"MyGO {release}"
html_show_sphinx = False
html_copy_source = False


def keep_signs(app: object, what: str, name: str, of: object, options: object, lines: list[str]) -> None:
    """Let a star or bar in a docstring mean itself: ``rows * H`` is no emphasis, ``|z - m|`` no substitution."""
    lines[:] = ["``".join(parts) for parts in map(escaped_outside_code, lines)]


def escaped_outside_code(line: str) -> list[str]:
    """Return what is outside and inside double backticks in turn, with stars and bars escaped outside."""
    parts = line.split("``")
    return [part if index % 2 else re.sub(r"([*|])", r"\\\1", part) for index, part in enumerate(parts)]


def setup(app: "Sphinx") -> None:
    """Connect to Sphinx; before Napoleon, which writes emphasis of its own."""
    app.connect("autodoc-process-docstring", keep_signs, priority=400)
