"""Pictures of a sweep: which settings the trials had, and which of them mattered."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.visualization.matplotlib import plot_parallel_coordinate, plot_param_importances

from tune.board import TrialRecord
from tune.space import Choice, Range, Space


def draw(records: Sequence[TrialRecord], space: Space, out: Path) -> dict[str, float] | None:
    """Write ``parallel_coordinates.png`` and ``importance.png`` to ``out``, of the trials that came to their end.

    Returns:
        The share of the variance of class-IL that each parameter explains (fANOVA, Hutter et al. 2014), or None where
        fewer than four trials or none that differ allow to tell; there is no picture of it then.
    """
    study = study_of(records, space)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", UserWarning)  # about axes on which all trials are at one place
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        plot_parallel_coordinate(study, target_name="validation class-IL")
        save(out / "parallel_coordinates.png")
        if len(study.trials) < 4 or len({trial.value for trial in study.trials}) < 2:
            return None
        evaluator = FanovaImportanceEvaluator(seed=0)
        plot_param_importances(study, evaluator=evaluator, target_name="validation class-IL")
        save(out / "importance.png")
        return get_param_importances(study, evaluator=evaluator)


def study_of(records: Sequence[TrialRecord], space: Space) -> optuna.Study:
    """Return the finished trials as an Optuna study."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    distributions = {name: distribution(values) for name, values in space.items()}
    for record in records:
        if record.status == "finished":
            params = dict(record.point.settings)
            study.add_trial(
                optuna.trial.create_trial(params=params, distributions=distributions, value=record.class_il[-1])
            )
    return study


def distribution(values: Range | Choice) -> BaseDistribution:
    """Return a parameter's values as Optuna describes them."""
    if isinstance(values, Choice):
        return CategoricalDistribution(values.values)
    if values.integer:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def save(path: Path) -> None:
    """Write the current figure to ``path`` and close it."""
    figure = plt.gcf()
    figure.set_size_inches(12, 5)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
