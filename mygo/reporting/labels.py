"""Names as a plot can write them: in fonts that have all of their characters, or a number in their place.

Matplotlib sets one character after the other. Scripts that take more, such as Arabic or Devanagari, and characters that
no font on this machine has, it cannot write; a browser can, so a report lists which number stands for which name.
"""

import functools
import unicodedata
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import matplotlib
from matplotlib.font_manager import findfont, fontManager
from matplotlib.ft2font import FT2Font

FONT = "DejaVu Sans"
"""What matplotlib brings along."""
LONGEST = 16
"""Characters of a name that there is room for."""
DIACRITICS = range(0x300, 0x370)
"""Combining marks that stand where they are set."""


@dataclass(frozen=True)
class Labels:
    """How names are written in a plot."""

    texts: list[str]
    """For each name what stands for it, safe from matplotlib's formulas; no two names have the same."""
    families: list[str]
    """The fonts that have all characters of `texts`, in the order in which they are tried."""
    numbered: dict[str, str]
    """The names that a number stands for, by what is written."""


def labels_for(names: Sequence[str], kind: str) -> Labels:
    """Return how ``names`` are written; a ``kind`` and a number stand for one that cannot be, such as ``class 3``."""
    forms = [_cut(unicodedata.normalize("NFC", name)) for name in names]
    families = [FONT, *_others(frozenset("".join(forms)))]
    shown = frozenset().union(*map(_characters, families))
    times = Counter(forms)
    texts, numbered = [], {}
    for number, (name, form) in enumerate(zip(names, forms, strict=True), start=1):
        if form.strip() and times[form] == 1 and set(form) <= shown and not any(map(_needs_shaping, form)):
            texts.append(form.replace("$", r"\$"))
        else:
            stand_in = f"{kind} {number}"
            while stand_in in times:  # another name, as it is
                stand_in += "*"
            texts.append(stand_in)
            numbered[stand_in] = name
    return Labels(texts, families, numbered)


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def _needs_shaping(character: str) -> bool:
    if unicodedata.bidirectional(character) in ("R", "AL", "AN"):
        return True
    return unicodedata.category(character) in ("Mc", "Mn", "Cf") and ord(character) not in DIACRITICS


def _others(wanted: frozenset[str]) -> list[str]:
    """Return families on this machine that together have as many of the ``wanted`` characters as there are here."""
    missing, families = set(wanted - _characters(FONT)), []
    for family in _families_here() if missing else []:
        if found := missing & _characters(family):
            missing -= found
            families.append(family)
    return families


@functools.cache
def _families_here() -> list[str]:
    # Those that matplotlib brings along are for formulas, or draw a box for every character.
    own = matplotlib.get_data_path()
    return sorted({entry.name for entry in fontManager.ttflist if not entry.fname.startswith(own)})


@functools.cache
def _characters(family: str) -> frozenset[str]:
    """Return the characters of ``family``; none if it cannot be drawn at any size, as fonts of coloured pictures."""
    with suppress(OSError, RuntimeError, ValueError):
        font = FT2Font(findfont(family, fallback_to_default=False))
        if font.scalable:
            return frozenset(map(chr, font.get_charmap()))
    return frozenset()
