"""Networks of one's own by name: ``module:attribute`` is imported from the working folder and PYTHONPATH.

A life keeps such names, and a life may come from anybody. So that no code runs which its folder brings along or names
at will, a name means only what a person's own module defines: a class or function at the top level of a source file
that lies in the working folder or on PYTHONPATH, neither installed nor inside the life. All of that is made sure of
before anything is imported. Who works in a folder trusts the code in it, as with ``python -m``.
"""

import ast
import importlib
import os
import re
import sysconfig
from collections.abc import Collection
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from mygo.errors import InputError

_NAME = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*)")


def is_import(name: str) -> bool:
    """Return whether ``name`` has the form ``module:attribute``."""
    return _NAME.fullmatch(name) is not None


def unknown(flag: str, name: str, known: Collection[str], use: str) -> InputError:
    """Return the error for a ``name`` that ``flag`` cannot have; the function ``use`` would make it known."""
    return InputError(
        f"{flag} {name!r} is not known: choose from {', '.join(known)}, name one of your own as module:attribute, or "
        f"make the name known with {use} before."
    )


def imported(name: str, flag: str, use: str) -> Any:
    """Return the class or function that ``name``, given to ``flag``, stands for; ``use`` would make another known.

    Raises:
        InputError: there is none, or its module cannot be imported.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is not of the form module:attribute")
    module, attribute = match["module"], match["attribute"]
    source = source_of(module)
    advice = f"run where that file is, put its folder on PYTHONPATH, or make the name known with {use} before"
    if source is None:
        file = f"{module.replace('.', '/')}.py"
        raise InputError(f"{flag} {name!r}: there is no {file} in the working folder or on PYTHONPATH: {advice}.")
    if attribute not in definitions_in(source):
        raise InputError(f"{flag} {name!r}: {source} defines no class or function {attribute}: {advice}.")
    from mygo.data.readers.pairs import importable_here

    try:
        with importable_here():
            found = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever a person's module does
        reason = f"{type(error).__name__}: {error}".rstrip(".:")
        raise InputError(f"{flag} {name!r} cannot be imported ({reason}): put {source} right.") from error
    if Path(found.__file__ or "").resolve() != source.resolve():
        raise InputError(f"{flag} {name!r}: another module is called {module} too, {found.__file__}: rename {source}.")
    return getattr(found, attribute)


def source_of(module: str) -> Path | None:
    """Return the source file of ``module`` in the working folder or on PYTHONPATH; imports nothing."""
    importlib.invalidate_caches()
    places = [str(folder) for folder in search_path()]
    origin: str | None = None
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:end]), places)
        if spec is None:
            return None
        places, origin = list(spec.submodule_search_locations or ()), spec.origin
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def search_path() -> list[Path]:
    """Return the folders in which a person's own modules are looked for, in order."""
    entries = [Path.cwd(), *(Path(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry)]
    installed = {Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    return [folder for entry in entries if (folder := entry.resolve()) not in installed]


def definitions_in(source: Path) -> set[str]:
    """Return the names of the classes and functions at the top level of the file ``source``; none if it has no sense.

    It is read and not run.
    """
    try:
        statements = ast.parse(source.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return set()
    return {statement.name for statement in statements if isinstance(statement, ast.FunctionDef | ast.ClassDef)}


def refuse_code_in(folder: Path, *names: str) -> None:
    """Check that none of ``names`` leads to code inside ``folder``, the folder of a life.

    Raises:
        InputError: one does.
    """
    for name in filter(is_import, names):
        source = source_of(name.partition(":")[0])
        if source is not None and folder.resolve() in {*source.parents, *source.resolve().parents}:
            raise InputError(
                f"{folder} names code that lies in it ({name}), which is not run: run from another folder."
            )
