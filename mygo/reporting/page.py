"""HTML as values: elements whose text is escaped, and a page that holds all that it shows and asks for nothing else."""

import base64
import struct
from collections.abc import Sequence
from html import escape

DOTS_PER_PIXEL = 2
"""Pictures are shown at half their size, so that they are sharp on fine screens and on paper."""

STYLE = """
:root { color-scheme: light; --ink: #1f2328; --soft: #59636e; --line: #d8dee4; --tint: #f4f6f8; --accent: #0b5394; }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0; background: #fff; color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue",
  Arial, sans-serif; }
header, main, footer { max-width: 1200px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 40px; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 1.3rem; margin: 40px 0 8px; padding-top: 12px; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 24px 0 8px; }
p, dl { max-width: 46rem; }
p { margin: 8px 0 16px; }
a { color: var(--accent); }
code { font: 0.9em ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.facts { color: var(--soft); margin: 6px 0 20px; }
.lead { font-size: 1.1rem; }
.notice { border-left: 4px solid #d55e00; background: #fff6ef; padding: 8px 14px; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 20px 0 0; padding: 10px 0;
  border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); font-size: 0.95rem; }
nav + h2, main > section:first-child h2 { border-top: 0; margin-top: 28px; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
.scroll { overflow-x: auto; margin: 12px 0; }
.scroll:focus-visible, summary:focus-visible, a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.95rem; }
caption { text-align: left; color: var(--soft); padding-bottom: 6px; }
th, td { padding: 6px 14px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { vertical-align: bottom; color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--ink); }
th:first-child { text-align: left; padding-left: 2px; }
tbody tr:hover { background: var(--tint); }
.wide table { width: 100%; }
.words th, .words td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.words th { font-weight: 400; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 12px 0; font-size: 0.95rem; }
dt { font-weight: 600; }
dd { margin: 0; color: var(--soft); }
figure { margin: 12px 0; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: 0.95rem; max-width: 46rem; }
.gallery { display: flex; flex-wrap: wrap; gap: 8px 24px; align-items: flex-start; }
.gallery figure { max-width: 100%; }
details { margin: 8px 0; }
summary { cursor: pointer; color: var(--accent); font-size: 0.95rem; }
footer { color: var(--soft); font-size: 0.9rem; padding-top: 24px; padding-bottom: 48px; }
@media (max-width: 600px) {
  body { font-size: 15px; }
  header, main, footer { padding-left: 16px; padding-right: 16px; }
  dl { grid-template-columns: 1fr; }
  section > figure { overflow-x: auto; }
  section > figure > img { max-width: none; width: 800px; }
}
@media print {
  @page { margin: 16mm; }
  body { font-size: 10pt; }
  header, main, footer { max-width: none; padding-left: 0; padding-right: 0; }
  nav, details:not([open]) { display: none; }
  h2 { margin-top: 24px; }
  h2, h3, figcaption { break-after: avoid; }
  figure, tr, .notice { break-inside: avoid; }
  .scroll { overflow: visible; }
}
"""


class Html(str):
    """Text that is HTML already; any other string is escaped on its way into an element."""

    __slots__ = ()


def element(tag: str, *content: str, **attributes: str) -> Html:
    """Return an element; ``class_`` is its class, and an underscore in an attribute's name stands for a dash."""
    inner = "".join(part if isinstance(part, Html) else escape(part) for part in content)
    return Html(f"<{tag}{_written(attributes)}>{inner}</{tag}>")


def joined(parts: Sequence[Html]) -> Html:
    """Return ``parts`` one after another."""
    return Html("\n".join(parts))


def picture(png: bytes, alt: str) -> Html:
    """Return the image ``png``, held in the page itself; ``alt`` says what is to be seen."""
    width, height = (size // DOTS_PER_PIXEL for size in struct.unpack(">II", png[16:24]))  # PNG's header
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return Html(f"<img{_written({'src': source, 'alt': alt, 'width': str(width), 'height': str(height)})}>")


def figure(png: bytes, alt: str, *below: str, above: str = "") -> Html:
    """Return a picture with what stands ``above`` it, a caption, and ``below``, such as the numbers that it shows."""
    return element("figure", above, picture(png, alt), *below)


def gallery(figures: Sequence[Html]) -> Html:
    """Return ``figures`` beside each other, as many as there is room for."""
    return element("div", joined(figures), class_="gallery")


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], class_: str = "") -> Html:
    """Return a table that scrolls sideways where the screen is small; each row's first cell is its heading."""
    head = element("tr", *(element("th", cell, scope="col") for cell in header))
    body = [
        element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in rest))
        for first, *rest in rows
    ]
    whole = element(
        "table", element("caption", caption), element("thead", head), element("tbody", joined(body)), class_=class_
    )
    return element("div", whole, class_=f"scroll {class_}".strip(), tabindex="0", role="region", aria_label=caption)


def details(summary: str, *content: str) -> Html:
    """Return ``content`` that is shown on request."""
    return element("details", element("summary", summary), *content)


def section(anchor: str, title: str, *content: str) -> Html:
    """Return a part of the page with its heading."""
    return element("section", element("h2", title, id=anchor), *content)


def page(title: str, *body: str) -> Html:
    """Return a whole document, which a browser is told to load nothing for."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = joined(
        [
            Html('<meta charset="utf-8">'),
            Html(f"<meta{_written({'http-equiv': 'Content-Security-Policy', 'content': policy})}>"),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            element("title", title),
            element("style", Html(STYLE)),
        ]
    )
    return Html(f"<!doctype html>\n{element('html', element('head', head), element('body', *body), lang='en')}\n")


def _written(attributes: dict[str, str]) -> str:
    names = {name: name.rstrip("_").replace("_", "-") for name in attributes}
    return "".join(f' {names[name]}="{escape(value)}"' for name, value in attributes.items() if value)
