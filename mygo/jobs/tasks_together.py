"""The tasks of a stream learned side by side instead of one after another, to see what that would give."""

import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mygo.config.learner import LifeConfig
from mygo.data.sources import Source
from mygo.data.survey import Part, Survey
from mygo.errors import InputError
from mygo.files import check_writable, read_json, write_json
from mygo.jobs.experiment import RESULTS_SCHEMA, Experiment, begun_otherwise, check_begun, load_pixels
from mygo.jobs.lesson import STRATEGY, Lesson, only, places_among
from mygo.jobs.perception import encoder_of, input_shape_of, open_encoder
from mygo.jobs.side_by_side import FOLDER
from mygo.learner.learner import Learner
from mygo.learner.saved import SavedLife

RESULTS = "side-by-side.json"
SETTINGS = "side-by-side-settings.json"
NOT_SEQUENTIAL = "not sequential: each task woke without what the others learned, and one sleep followed"


@dataclass(frozen=True, kw_only=True)
class TaskLesson(Lesson):
    """A task of the stream of an ``experiment``, as a lesson of a life that learns all of them side by side."""

    experiment: Experiment
    number: int

    @property
    def learner(self) -> LifeConfig:
        """The settings that are lived with."""
        return self.experiment.settings_of(STRATEGY)

    @property
    def rest(self) -> Lesson:
        """The sleep of all tasks."""
        kept = {name: getattr(self, name) for name in ("encoder_weights", "log_every", "save_every", "memory_cache")}
        return Lesson(self.folder, **kept)

    def open(self, on_notice: Callable[[str], None] = lambda text: None) -> tuple[Learner, Source | Survey | None]:
        """Return the life, a new one if there is none, and what there is of the task.

        Raises:
            InputError: the data cannot be used, or the life was begun with other settings.
        """
        found = self.found()
        if Learner.exists(self.folder):
            life = Learner.open(self.folder, on_notice)
            if life.config.identity != self.learner.identity:
                raise begun_otherwise(self.folder)
        else:
            encoder = open_encoder(self.experiment.config.encoder, self.encoder_weights)
            shape = found.dataset.input_shape if isinstance(found, Source) else input_shape_of(found, encoder)
            life = Learner(STRATEGY, self.learner, shape, self.folder)
        if isinstance(found, Survey):
            encoder_of(life, self.encoder_weights)
        return life, found

    def found(self) -> Source | Survey:
        """Return what there is of the task: its images or, behind an encoder, what is to be encoded."""
        experiment, task = self.experiment, self.experiment.config.tasks()[self.number]
        surveyed = experiment.survey()
        if surveyed is None:
            dataset = load_pixels(experiment.config)
            return Source(only(dataset, [dataset.class_names[label] for label in task.classes]))
        classes = tuple(surveyed.class_names[label] for label in task.classes)
        places = places_among(surveyed.class_names, classes)

        def own(part: Part) -> Part:
            labels = places[part.labels]
            rows = labels.argsort(stable=True)[int((labels < 0).sum()) :]
            return Part(part.reader, part.indices[rows], labels[rows])

        return replace(surveyed, class_names=classes, parts=tuple(map(own, surveyed.parts)))


def lessons_of_stream(experiment: Experiment, *, resume: bool) -> list[TaskLesson]:
    """Return the tasks of ``experiment`` as lessons of one life in its `out`, where its settings are noted.

    Raises:
        InputError: it compares strategies or is for validation, `out` cannot be written to, or what it holds is not
            what ``resume`` says, or was begun with other settings.
    """
    config, out = experiment.config, experiment.out
    assert out is not None
    if config.strategies != (STRATEGY,):
        raise InputError(f"--side-by-side is for {STRATEGY} alone: add --strategies {STRATEGY}.")
    if config.validation_share:
        raise InputError("--side-by-side shows what a whole stream would give: leave out --validation-share.")
    folder = out / "life" / STRATEGY
    check_begun(out, begun=Learner.exists(folder) or (folder / FOLDER).exists(), resume=resume)
    check_writable(out)
    settings = settings_in_json(experiment)
    if not resume:
        write_json(out / SETTINGS, settings)
    elif (out / SETTINGS).exists() and read_json(out / SETTINGS) != settings:
        raise begun_otherwise(out)
    return [
        TaskLesson(
            folder,
            name=f"task {number + 1}",
            encoder_weights=experiment.encoder_weights,
            save_every=experiment.save_every,
            memory_cache=experiment.memory_cache,
            experiment=experiment,
            number=number,
        )
        for number in range(config.num_tasks)
    ]


def settings_in_json(experiment: Experiment) -> dict[str, Any]:
    """Return what is learned by whom, as JSON has it: with that it is gone on with."""
    settings = {"stream": experiment.stream, "life": asdict(experiment.settings_of(STRATEGY).identity)}
    found: dict[str, Any] = json.loads(json.dumps(settings))
    return found


def is_learned(experiment: Experiment) -> bool:
    """Return whether all tasks of `lessons_of_stream` were learned, and only the results are to be written."""
    assert experiment.out is not None
    folder = experiment.out / "life" / STRATEGY
    if not Learner.exists(folder) or (folder / FOLDER).exists():
        return False
    life = SavedLife.open(folder)
    return life.current is None and len(life.lessons) == experiment.config.num_tasks


def write_results(experiment: Experiment, seconds: float | None) -> dict[str, Any]:
    """Write what the life of `lessons_of_stream` reached to its `out`, and return it.

    ``seconds`` is what that took, or None if it was interrupted.
    """
    assert experiment.out is not None
    life = SavedLife.open(experiment.out / "life" / STRATEGY)
    lessons = {lesson.name: asdict(lesson) for lesson in life.lessons}
    results = {
        "schema": RESULTS_SCHEMA,
        "what": NOT_SEQUENTIAL,
        "stream": experiment.stream,
        "average_accuracy": {
            kind: statistics.mean(lesson[kind] for lesson in lessons.values()) for kind in ("class_il", "task_il")
        },
        "lessons": lessons,
        "memory_bytes": life.memory_bytes,
        "seconds": seconds,
    }
    write_json(experiment.out / RESULTS, results)
    return results


def results_in(out: Path) -> dict[str, Any] | None:
    """Return what `write_results` left in ``out``, if it did."""
    return read_json(out / RESULTS) if (out / RESULTS).exists() else None
