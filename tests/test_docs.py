"""The documentation site is built without a warning and has no dead link; what the pages name is there."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

import mygo

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("benchmarks/results/*.md")])
SCRIPTS = [REPOSITORY / "Makefile", REPOSITORY / ".ci" / "run", *sorted(REPOSITORY.glob("tests/*.sh"))]
OF_OLD_VERSIONS = {REPOSITORY / "CHANGELOG.md", REPOSITORY / "benchmarks" / "results" / "tried.md"}
"""Pages that may name files that are gone."""
MADE = "docs/site"
"""What is named and is there once it is built."""
FOR_A_PERSON_ALONE = {"genindex.html", "py-modindex.html", "search.html"}
"""Pages that Sphinx adds; not every theme leads to all of them."""

Link = tuple[str, str]
"""The page that a link is on, and what it leads to: a page or file, and maybe ``#`` and an id."""


class PageParser(HTMLParser):
    """Collects from a page the ids in it, what it leads to, and what a browser loads to show it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids.add(values.get("id", ""))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload"):
            self.loaded.append(values["href"])
        elif tag in ("img", "script", "iframe", "source") and "src" in values:
            self.loaded.append(values["src"])


def is_outside(link: str) -> bool:
    return re.match(r"[a-z]+:|//", link) is not None


def pages_in(folder: Path) -> dict[str, PageParser]:
    found = [page for page in folder.rglob("*.html") if "_static" not in page.parts]
    return {str(page.relative_to(folder)): PageParser(page.read_text()) for page in found}


def goal_of(folder: Path, page: str, link: str) -> tuple[str, str]:
    """Return the file, relative to ``folder``, and the id that ``link`` on ``page`` leads to."""
    address, id_ = urldefrag(link)
    path = address.partition("?")[0]  # what comes then tells caches of two versions apart
    goal = (folder / page).parent / unquote(path) if path else folder / page
    goal = goal / "index.html" if goal.is_dir() else goal
    return os.path.relpath(goal, folder), id_


def dead_links(folder: Path) -> list[Link]:
    """Return all links within the site that lead to no file, or to no id in it."""
    pages = pages_in(folder)
    dead = []
    for page, parsed in pages.items():
        for link in [*parsed.links, *parsed.loaded]:
            if is_outside(link):
                continue
            goal, id_ = goal_of(folder, page, link)
            known = goal in pages and (not id_ or id_ in pages[goal].ids)
            if not known and (goal in pages or not (folder / goal).is_file()):
                dead.append((page, link))
    return dead


def unreachable_pages(folder: Path, first: str = "index.html") -> set[str]:
    """Return the pages that nobody comes to who begins at ``first`` and follows links."""
    pages = pages_in(folder)
    reached, ahead = set(), {first}
    while ahead:
        reached |= ahead
        links = [(page, link) for page in ahead for link in pages[page].links if not is_outside(link)]
        ahead = {goal_of(folder, page, link)[0] for page, link in links} & set(pages) - reached
    return set(pages) - reached


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, str(REPOSITORY / "docs" / "build_site.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


@pytest.mark.site
def test_the_site_has_no_dead_link(site: Path) -> None:
    assert len(pages_in(site)) > 50
    assert dead_links(site) == []


@pytest.mark.site
def test_every_page_of_the_site_is_reachable(site: Path) -> None:
    assert unreachable_pages(site) <= FOR_A_PERSON_ALONE


@pytest.mark.site
def test_the_site_needs_no_network(site: Path) -> None:
    loaded = {what for parsed in pages_in(site).values() for what in parsed.loaded}
    assert loaded
    assert {what for what in loaded if is_outside(what) and not what.startswith("data:")} == set()
    styles = [path.read_text() for path in site.rglob("*.css")]
    assert styles
    assert not [style for style in styles if re.search(r"url\(\s*['\"]?(https?:)?//|@import", style)]


@pytest.mark.site
def test_the_api_has_every_public_name_and_every_module(site: Path) -> None:
    public = (site / "api" / "index.html").read_text()
    for name in mygo.__all__:
        assert f"mygo.{name}<" in public, name
    for module in (REPOSITORY / "mygo").rglob("[!_]*.py"):
        name = ".".join(module.relative_to(REPOSITORY).with_suffix("").parts)
        assert (site / "api" / f"{name}.html").exists(), name


def test_dead_links_and_unreachable_pages_are_found(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(
        '<p id="top"></p><a href="sub/page.html#here">a</a><a href="#top">b</a><a href="#gone">c</a>'
        '<a href="nowhere.html">d</a><img src="no.png"><a href="https://example.org">e</a>'
    )
    (tmp_path / "sub" / "page.html").write_text(
        '<p id="here"></p><a href="../index.html#top">a</a><a href="?v=2#b">b</a>'
    )
    (tmp_path / "sub" / "alone.html").write_text('<a href="page.html#not-here">a</a>')
    dead = {("index.html", "#gone"), ("index.html", "nowhere.html"), ("index.html", "no.png")}
    assert set(dead_links(tmp_path)) == dead | {("sub/alone.html", "page.html#not-here"), ("sub/page.html", "?v=2#b")}
    assert unreachable_pages(tmp_path) == {"sub/alone.html"}


@pytest.mark.parametrize("page", sorted(set(PAGES) - OF_OLD_VERSIONS), ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    inside = r"(?:mygo|distributed|tune|tests|benchmarks|docs|examples)/[\w./-]*\w"
    on_top = r"\.?[\w-]+\.(?:ya?ml|toml|cff)\b"
    named = re.findall(rf"(?<![\w./-])(?:{inside}|{on_top})", page.read_text())
    missing = [name for name in named if not name.startswith(MADE) and not (REPOSITORY / name).exists()]
    assert missing == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_tests_that_a_script_names_are_there(script: Path) -> None:
    for named in set(re.findall(r"(?<![\w./-])tests/[\w./{},-]+", script.read_text())):
        expanded = subprocess.run(["bash", "-c", f"printf '%s\n' {named}"], capture_output=True, text=True, check=True)
        assert [path for path in expanded.stdout.split() if not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_that_a_page_names_are_there(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)) <= targets


def test_the_readme_has_two_screens_and_the_words_that_readers_search_for() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    assert len(readme.splitlines()) <= 110
    pages = readme.lower() + "".join(page.read_text().lower() for page in REPOSITORY.glob("docs/*.md"))
    for word in ("callback", "log", "checkpoint", "request", "resume", "tensorboard"):
        assert re.search(rf"\b{word}", pages), word


def test_every_place_that_says_the_version_says_the_same() -> None:
    citation = re.findall(r"^version: (.+)$", (REPOSITORY / "CITATION.cff").read_text(), re.MULTILINE)
    versions = re.findall(r"^## (\d+\.\d+\.\d+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert citation == [mygo.__version__]
    assert versions[0] == mygo.__version__
