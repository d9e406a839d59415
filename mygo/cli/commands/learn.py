"""``learn``: one more lesson for a life, in this process; ``distributed/run.py learn`` does the same on Ray."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import tyro
from rich.console import Console

from mygo.cli.commands.show import NEWEST, Show
from mygo.cli.flags import OptionalPath, OptionalText, adapted, first_look, parse_flags
from mygo.config.learner import AnyAdapt, LifeConfig
from mygo.config.ranges import check_share
from mygo.config.settings import SAVE_EVERY
from mygo.errors import InputError
from mygo.reporting.console import plain

if TYPE_CHECKING:
    from mygo.jobs.lesson import Lesson


F = TypeVar("F", bound="LessonFlags")


@dataclass(frozen=True, kw_only=True)
class LessonFlags:
    """Teach a life, which is begun if it is not there, the classes that a person's own examples show."""

    folder: Annotated[Path, tyro.conf.arg(name="life")]
    """Folder of the life, visible to all nodes."""
    data: Annotated[list[str], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="STR")] = field(default_factory=list)
    """The examples: a folder with one sub-folder of images per class, or with train and test that are such folders; a
    table (CSV, TSV, JSONL or Parquet) with the columns image or text, and label; an .npz file (images or features,
    labels, class_names); an .npy file with FILE-labels.npy beside it; hf:NAME of Hugging Face's data sets; or
    module:function for a torch Dataset. Given several times, each is a lesson, and they are learned side by side: each
    wakes alone, and then the life sleeps once. Leave it out to finish a lesson that is asleep already and whose data is
    gone."""
    lessons: OptionalPath = None
    """A folder with lessons to learn side by side: each of its sub-folders is as --data."""
    name: OptionalText = None
    """What the lesson is called, if it is one; by default as its data."""
    update: bool = False
    """Teach classes again that the life knows; without it, a known class is refused."""
    held_out: float = 0.1
    """Share of each class's examples to measure accuracy on, where the data has no test examples of its own."""
    encoder_weights: OptionalPath = None
    """File with the weights of the encoder, where it does not find them itself."""
    learner: Annotated[LifeConfig, tyro.conf.arg(name="")] = field(default_factory=LifeConfig)

    @classmethod
    def parse(cls: type[F], argv: list[str], prog: str) -> F:
        """Return the arguments; settings that ``argv`` does not give are those of the life or, of a new one, defaults.

        Exits with 2 on flags that do not exist or parse.

        Raises:
            InputError: the life cannot be read.
        """
        found = folder_and_settings(argv)
        return parse_flags(cls, argv, prog, found and cls(folder=found[0], learner=found[1]))

    def waiting(self, save_every: float) -> "list[Lesson]":
        """Return the lessons that the flags describe: one, or several to be learned side by side.

        Raises:
            InputError: a value is out of its range, there are no lessons where they are said to be, or what is said of
                them makes sense for one alone.
        """
        from mygo.jobs.lesson import Lesson

        check_share(self.held_out, "held-out")  # before the data is looked for
        sources = [*self.data, *(map(str, lessons_in(self.lessons)) if self.lessons is not None else ())]
        if len(sources) > 1 and (self.update or self.name is not None):
            raise InputError("Several lessons are new ones, and called as their data: leave out --update and --name.")
        return [
            Lesson(
                self.folder.resolve(),
                source,
                self.name,
                update=self.update,
                held_out=self.held_out,
                config=self.learner,
                encoder_weights=self.encoder_weights and self.encoder_weights.resolve(),
                save_every=save_every,
            )
            for source in (map(absolute, sources) if sources else [None])
        ]


def absolute(source: str) -> str:
    """Return ``source`` as a path that holds in any folder, if it is one."""
    # Not Path.exists, which raises an error on a name that is too long.
    return str(Path(source).resolve()) if os.path.exists(source) else source  # noqa: PTH110


def lessons_in(folder: Path) -> list[Path]:
    """Return the lessons in ``folder``, by name.

    Raises:
        InputError: there are none.
    """
    try:
        found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}): name a folder of lessons.") from error
    if not found:
        raise InputError(f"{folder} holds no sub-folders, which would be lessons: name another folder, or use --data.")
    return found


def folder_and_settings(argv: list[str]) -> tuple[Path, LifeConfig] | None:
    """Return the folder that ``argv`` names, if it does, and the settings that it may change.

    Those are the life's or, of a new one, the defaults.

    Raises:
        InputError: the life cannot be read.
    """
    seen = first_look(argv, "life", "data", "lessons", "encoder", "adapt")
    if seen["life"] is None:  # which tyro will say
        return None
    folder, is_help = Path(seen["life"]), bool({"-h", "--help"} & set(argv))
    data = None if is_help else seen["data"]
    if data is None and seen["lessons"] is not None and not is_help:
        with suppress(InputError):  # it will come up again
            data = str(lessons_in(Path(seen["lessons"]))[0])
    return folder, settings_of(folder, data, seen["encoder"] or "auto", adapted(seen["adapt"]))


def settings_of(folder: Path, data: str | None, encoder: str, adapt: AnyAdapt) -> LifeConfig:
    """Return the settings of the life in ``folder`` or, of a new one, the defaults for ``data`` behind ``encoder``.

    Those depend on what of it the life is to ``adapt``.

    Raises:
        InputError: the life cannot be read.
    """
    from mygo.jobs.perception import default_settings
    from mygo.learner.learner import Learner
    from mygo.learner.saved import SavedLife

    if Learner.exists(folder):
        return SavedLife.open(folder, lambda text: None).config
    if data is None:
        return LifeConfig()
    from mygo.data.survey import survey

    try:
        return default_settings(survey(data), encoder, adapt)
    except InputError:  # it will come up again, once nothing is wrong with the flags
        return LifeConfig()


def name_suspicious(lesson: "Lesson", console: Console) -> None:
    """Name the most suspicious labels of ``lesson`` and say how many look more like another class.

    Raises:
        InputError: its data cannot be read as its life sees.
    """
    from mygo.cli.unlabelled.checking import check_labels
    from mygo.jobs.perception import LISTED

    life, found = lesson.open()
    if found is None:
        return
    checked = check_labels(life, str(lesson.data), lesson.encoder_weights)
    for text in checked.sentences(LISTED):
        console.print(plain(text), style="yellow")
    count = len(checked.suspicious)
    console.print(plain(f"{count} of {len(checked)} examples look more like another class than like their own."))


@dataclass(frozen=True, kw_only=True)
class Learn(LessonFlags):
    """Teach a life, which is begun if it is not there, the classes that a person's own examples show."""

    save_every: float = SAVE_EVERY
    """Seconds between two points within a phase from which an interrupted life goes on; phases are always saved."""
    check_labels: bool = False
    """Before learning, name the labels that look wrong; `suggest --labels` writes a list of all. Nothing is changed."""

    def run(self, console: Console) -> None:
        """Teach the lesson in this process, and show what was learned."""
        from contextlib import closing

        from mygo.events import tee
        from mygo.jobs.lesson import remarks_on
        from mygo.jobs.side_by_side import learn_together
        from mygo.reporting.console import ConsoleLogger
        from mygo.reporting.tensorboard import TensorBoardLogger

        lessons = self.waiting(self.save_every)
        lesson, complaints = lessons[0], list[str]()
        if len(lessons) == 1:
            for text in remarks_on(lesson.check()):
                console.print(plain(text), style="dim")
        if self.check_labels:
            for each in lessons:
                name_suspicious(each, console)
        started = time.perf_counter()
        with closing(TensorBoardLogger(lesson.folder / "tensorboard")) as board, ConsoleLogger(console) as bars:
            if len(lessons) == 1:
                lesson.run(on_event=tee(bars, board))
            else:
                complaints = learn_together(lessons, tee(bars, board))
        console.print(plain(f"Taught in {time.perf_counter() - started:.0f} s."))
        Show(life=lesson.folder, newest=NEWEST).run(console)
        if complaints:
            raise InputError(" ".join(complaints))
