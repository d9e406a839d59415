"""MyGO: lifelong learning by wake and sleep, without stored data."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mygo.baselines.registry import use_strategy
    from mygo.config.presets import preset
    from mygo.config.settings import change
    from mygo.jobs.experiment import Experiment, ExperimentConfig
    from mygo.learner.life import Life, LifeConfig
    from mygo.memory.gan import use_generator
    from mygo.networks.neocortex import use_backbone

__version__ = "0.2.0"
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
    "mygo.jobs.experiment": ("Experiment", "ExperimentConfig"),
    "mygo.memory.gan": ("use_generator",),
    "mygo.learner.life": ("Life", "LifeConfig"),
    "mygo.networks.neocortex": ("use_backbone",),
    "mygo.config.presets": ("preset",),
    "mygo.config.settings": ("change",),
    "mygo.baselines.registry": ("use_strategy",),
}
"""Where the names live that are imported when they are first asked for, so that ``import mygo`` is quick."""

if not TYPE_CHECKING:  # a type checker would believe that there is every name

    def __getattr__(name: str) -> object:
        import importlib

        for module, names in _MODULES.items():
            if name in names:
                return getattr(importlib.import_module(module), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
