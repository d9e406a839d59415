"""The documentation site, made by Sphinx from the docstrings and the Markdown files: `make docs`. It needs no network.

python docs/build_site.py [FOLDER]      then open FOLDER/index.html, by default docs/site/index.html

Its pages are one for each module, and the files of `PAGES` as they lie in the repository, so that a link between two of
them is right on the site and where the repository is looked at. Anything that Sphinx warns of, such as a dead link or a
page that no other leads to, fails the build.
"""

import importlib
import pkgutil
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sphinx.cmd.build import build_main

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

PAGES = ("*.md", "LICENSE", "docs/*.md", "docs/*.json", "docs/pictures/*", "benchmarks/results/*.md", "examples/*.py")
"""What the site shows or lets one download."""
PACKAGES = ("mygo", "distributed", "tune")


def build(folder: Path) -> int:
    """Build the site in ``folder`` and return the exit code."""
    with tempfile.TemporaryDirectory(prefix="mygo-docs-") as temporary:
        source = Path(temporary)
        for page in (page for pattern in PAGES for page in REPOSITORY.glob(pattern)):
            copy = source / page.relative_to(REPOSITORY)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(page, copy)
        shutil.copy(REPOSITORY / "docs" / "index.rst", source)
        write_api(source / "api")
        options = ["-b", "html", "-c", str(REPOSITORY / "docs"), "-d", str(source / ".doctrees")]
        return int(build_main([*options, "--fail-on-warning", "--keep-going", "--quiet", str(source), str(folder)]))


def write_api(folder: Path) -> None:
    """Write the sources of the API's pages into ``folder``: what is public, and then each module."""
    folder.mkdir()
    names = [name for package in PACKAGES for name in modules_of(package)]
    for name in names:
        (folder / f"{name}.rst").write_text(f"{headline(name)}\n.. automodule:: {name}\n")
    stable = "Public: these change with a major version alone or, before 1.0.0, with a minor one."
    parts = [headline("API"), f"{stable}\n", *public_names()]
    parts += ["", "All modules:\n", ".. toctree::", "   :maxdepth: 1", "", *(f"   {name}" for name in names)]
    (folder / "index.rst").write_text("\n".join(parts) + "\n")


def modules_of(package: str) -> Iterator[str]:
    """Yield the names of ``package`` and of all modules in it, but for those that are started."""
    yield package
    for module in pkgutil.walk_packages([str(REPOSITORY / package)], f"{package}."):
        if not module.name.endswith("__main__"):
            yield module.name


def public_names() -> Iterator[str]:
    """Yield a line for each name in `mygo.__all__`, with a link to where it is described."""
    mygo = importlib.import_module("mygo")
    for name in mygo.__all__:
        found = getattr(mygo, name)
        if name.startswith("__"):
            yield f"- ``mygo.{name}``: {found}"
        else:
            summary = (found.__doc__ or "").splitlines()[0]
            yield f"- :py:obj:`mygo.{name} <{found.__module__}.{found.__qualname__}>`: {summary}"


def headline(text: str) -> str:
    """Return ``text`` as the title of a page."""
    return f"{text}\n{'=' * len(text)}\n"


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "docs" / "site"))
