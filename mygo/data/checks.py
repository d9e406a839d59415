"""What must be true of a source before a life learns from it."""

from collections.abc import Collection, Mapping, Sequence

from mygo.data.readers.reader import PLURAL, Kind
from mygo.errors import InputError

UNREADABLE_SHARE = 0.1
"""With more than this share of unreadable items a source is refused."""
LEAST_EXAMPLES = 10
"""Readable training items that a class of a lesson must have."""


def refuse_known(known: Collection[str], *classes: Collection[str]) -> None:
    """Check that none of ``classes`` is ``known``.

    Raises:
        InputError: one is.
    """
    if both := sorted(set(known) & set().union(*classes)):
        raise InputError(f"The life knows class {both[0]} already: leave it out, or pass --update to teach it again.")


def check_readable(source: str, total: int, unreadable: Sequence[str], kind: Kind = "image") -> None:
    """Check that there are items in ``source``, and that of ``total`` few are ``unreadable``.

    Raises:
        InputError: they are too many, or there is no item at all.
    """
    if len(unreadable) > UNREADABLE_SHARE * total:
        raise InputError(
            f"{len(unreadable)} of {total} {PLURAL[kind]} in {source} cannot be read, the first being "
            f"{unreadable[0]}: convert, repair or remove them."
        )
    if not total:
        raise InputError(f"{source} holds no {PLURAL[kind]}: put some there or name another source.")


def check_classes(
    source: str, counts: Sequence[Mapping[str, int]], least: int, kind: Kind = "image"
) -> tuple[str, ...]:
    """Return the names of all classes, sorted, given ``counts`` of readable items in each part of ``source``.

    Raises:
        InputError: one has fewer than ``least`` training items, or no test item where the source has such.
    """
    names = sorted(set().union(*counts))
    train, *test = counts
    for name in names:
        if (count := train.get(name, 0)) < least:
            raise InputError(
                f"Class {name} in {source} has {count} readable training {PLURAL[kind]}, fewer than {least}: add some, "
                "or leave the class out."
            )
        if not all(part.get(name) for part in test):
            raise InputError(f"Class {name} in {source} has no readable test {kind}: add some, or leave the class out.")
    return tuple(names)
