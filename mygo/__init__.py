"""MyGO: lifelong learning by wake and sleep, without stored data."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mygo.baselines.registry import use_strategy
    from mygo.config.learner import LifeConfig
    from mygo.config.presets import preset
    from mygo.config.settings import change
    from mygo.data.datasets import load_dataset, use_dataset
    from mygo.data.examples import Examples, LabelledDataset
    from mygo.data.tasks import Task
    from mygo.encoders.frozen import FrozenEncoder
    from mygo.encoders.preprocessing import ImagePreprocessing
    from mygo.encoders.registry import encoder_named, use_encoder
    from mygo.jobs.experiment import Experiment, ExperimentConfig
    from mygo.jobs.life import Life
    from mygo.learner.learner import Learner
    from mygo.networks.generator import Generator, use_generator
    from mygo.networks.neocortex import use_backbone
    from mygo.phase import PhaseContext

__version__ = "0.2.0"
__all__ = [
    "Examples",
    "Experiment",
    "ExperimentConfig",
    "FrozenEncoder",
    "Generator",
    "ImagePreprocessing",
    "LabelledDataset",
    "Learner",
    "Life",
    "LifeConfig",
    "PhaseContext",
    "Task",
    "__version__",
    "change",
    "encoder_named",
    "load_dataset",
    "preset",
    "use_backbone",
    "use_dataset",
    "use_encoder",
    "use_generator",
    "use_strategy",
]
"""The public names, beside the modules `mygo.wake` and `mygo.sleep`; all else may change with any version."""

_MODULES = {
    "mygo.baselines.registry": ("use_strategy",),
    "mygo.config.learner": ("LifeConfig",),
    "mygo.config.presets": ("preset",),
    "mygo.config.settings": ("change",),
    "mygo.data.datasets": ("load_dataset", "use_dataset"),
    "mygo.data.examples": ("LabelledDataset", "Examples"),
    "mygo.data.tasks": ("Task",),
    "mygo.encoders.frozen": ("FrozenEncoder",),
    "mygo.encoders.preprocessing": ("ImagePreprocessing",),
    "mygo.encoders.registry": ("encoder_named", "use_encoder"),
    "mygo.jobs.experiment": ("Experiment", "ExperimentConfig"),
    "mygo.jobs.life": ("Life",),
    "mygo.learner.learner": ("Learner",),
    "mygo.networks.generator": ("Generator", "use_generator"),
    "mygo.networks.neocortex": ("use_backbone",),
    "mygo.phase": ("PhaseContext",),
}
"""Where the names live that are imported when they are first requested, so that ``import mygo`` is quick."""

if not TYPE_CHECKING:  # a type checker would believe that there is every name

    def __getattr__(name: str) -> object:
        import importlib

        for module, names in _MODULES.items():
            if name in names:
                return getattr(importlib.import_module(module), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
