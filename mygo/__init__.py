"""MyGO: lifelong learning by wake and sleep, without stored data."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mygo.experiment import Experiment, ExperimentConfig
    from mygo.gan import use_generator
    from mygo.life import Life, LifeConfig
    from mygo.neocortex import use_backbone
    from mygo.presets import preset
    from mygo.settings import change
    from mygo.strategies import use_strategy

__version__ = "0.1.0"
__all__ = [
    "Experiment",
    "ExperimentConfig",
    "Life",
    "LifeConfig",
    "__version__",
    "change",
    "preset",
    "use_backbone",
    "use_generator",
    "use_strategy",
]

_MODULES = {
    "mygo.experiment": ("Experiment", "ExperimentConfig"),
    "mygo.gan": ("use_generator",),
    "mygo.life": ("Life", "LifeConfig"),
    "mygo.neocortex": ("use_backbone",),
    "mygo.presets": ("preset",),
    "mygo.settings": ("change",),
    "mygo.strategies": ("use_strategy",),
}
"""Where the names live that are imported when they are first asked for, so that ``import mygo`` is quick."""

if not TYPE_CHECKING:  # a type checker would believe that there is every name

    def __getattr__(name: str) -> object:
        import importlib

        for module, names in _MODULES.items():
            if name in names:
                return getattr(importlib.import_module(module), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
