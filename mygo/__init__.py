"""MyGO: lifelong learning by wake and sleep, without stored data."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mygo.life import Life

__version__ = "0.1.0"
__all__ = ["Life", "__version__"]

_MODULES = {"Life": "mygo.life"}
"""Where the names live that are imported when they are first asked for, so that ``import mygo`` is quick."""

if not TYPE_CHECKING:  # a type checker would believe that there is every name

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(_MODULES[name]), name)
