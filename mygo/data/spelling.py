"""One spelling for a name: the same letters can be written in several ways, and a Mac writes them otherwise."""

import unicodedata


def composed(name: str) -> str:
    """Return ``name`` in Unicode's composed form (NFC), in which names of classes and lessons are kept and looked up.

    File systems of macOS, and archives made there, have letters and their accents apart (NFD).
    """
    return unicodedata.normalize("NFC", name)
