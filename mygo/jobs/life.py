"""A life, as a person has it: it learns, sees, dreams and forgets, in this process."""

import copy
import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from mygo.config.learner import LifeConfig
from mygo.config.presets import behind_encoder
from mygo.data.examples import ImageShape
from mygo.errors import InputError
from mygo.jobs.forget import forget
from mygo.jobs.lesson import learn
from mygo.jobs.merge import merge
from mygo.jobs.perception import encoder_of, open_encoder, seeing_through, vectors_of
from mygo.learner.learner import Learner
from mygo.learner.predict import Images, Predictions, classify, predict

if TYPE_CHECKING:
    from mygo.data.readers.find import Data


L = TypeVar("L", bound="Life")


def checked_shape(shape: object) -> ImageShape:
    """Return ``shape`` as that of images (C, H, W) with one or three channels.

    Raises:
        InputError: it is no such shape.
    """
    try:
        channels, height, width = map(operator.index, shape)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        channels = height = width = 0
    if channels not in (1, 3) or height < 1 or width < 1:
        raise InputError(f"A life sees images of a shape (C, H, W) with C 1 or 3, such as (3, 32, 32), not {shape!r}.")
    return channels, height, width


def whole_number(value: object, what: str) -> int:
    """Return ``value``, which messages call ``what``, as an integer.

    Raises:
        InputError: it is of another type.
    """
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"The {what} must be an integer, not {value!r}, a {type(value).__name__}.") from None


class Life(Learner):
    """A learner for a person to use; it is saved in its folder, if it has one, as it learns."""

    @classmethod
    def create(
        cls: type[L],
        image_shape: tuple[int, int, int],
        folder: str | os.PathLike[str] | None = None,
        config: LifeConfig | None = None,
    ) -> L:
        """Return a life that has learned nothing yet and sees images of ``image_shape`` (C, H, W).

        With a ``folder`` it is saved there as it learns.

        Raises:
            InputError: the folder holds a life already, or there are no such images, or none that its backbone can see.
        """
        if folder is not None and cls.exists(Path(folder)):
            raise InputError(f"{folder} holds a life already: open it with Life.open, or choose another folder.")
        shape, config = checked_shape(image_shape), seeing_through(config or LifeConfig(), "none")
        try:
            life = cls("mygo", config, shape, None if folder is None else Path(folder))
            with torch.no_grad():
                copy.deepcopy(life.neocortex.features).eval()(torch.zeros(1, *shape))
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"The backbone {config.backbone} cannot see images of the shape {shape}: choose sides that are "
                "multiples of 4, from 8 to 32, or another backbone."
            ) from error
        return life

    def learn(self, data: "Data", name: str | None = None, **options: Any) -> None:
        """Learn the classes of ``data``, as `mygo.jobs.lesson.learn` does."""
        learn(self, data, name, **options)

    def forget(self, class_name: str, **options: Any) -> None:
        """Forget a class for good, as `mygo.jobs.forget.forget` does."""
        forget(self, class_name, **options)

    def merge(self: L, *others: Learner, folder: str | os.PathLike[str] | None = None, **options: Any) -> L:
        """Return a life that knows what this one and ``others`` know, as `mygo.jobs.merge.merge` does."""
        return merge(type(self), [self, *others], None if folder is None else Path(folder), **options)

    def predict(self, inputs: Images | Sequence[str], lesson: str | None = None) -> Predictions:
        """Return how probable each class is for ``inputs``.

        Over pixels they are images as `mygo.learner.predict.predict` takes them; behind an encoder, a sequence of
        images, texts or vectors, whatever it takes (see `mygo.jobs.perception.vectors_of`).
        """
        if self.on_features:
            return classify(self, vectors_of(inputs, encoder_of(self), self), lesson)
        return predict(self, inputs, lesson)  # type: ignore[arg-type]  # which says what it cannot see

    @classmethod
    def behind(
        cls: type[L],
        encoder: str = "efficientnet-lite0",
        folder: str | os.PathLike[str] | None = None,
        config: LifeConfig | None = None,
        *,
        weights: str | os.PathLike[str] | None = None,
    ) -> L:
        """Return a life that has learned nothing yet and sees through ``encoder`` (see docs/encoders.md).

        With a ``folder`` it is saved there as it learns; ``weights`` are those of the encoder, where it does not find
        them itself.

        Raises:
            InputError: the folder holds a life already, or there is no such encoder.
        """
        if folder is not None and cls.exists(Path(folder)):
            raise InputError(f"{folder} holds a life already: open it with Life.open, or choose another folder.")
        config = config or behind_encoder()
        if config.adapt == "auto":
            raise InputError("What a life adapts that begins without pictures cannot be auto: say late or none.")
        config = seeing_through(config, encoder)
        eyes = open_encoder(config.encoder, None if weights is None else Path(weights))
        if eyes is None:
            raise InputError("A life behind an encoder needs one: name it, or begin a life over pixels with create.")
        life = cls("mygo", config, (eyes.feature_dim,), None if folder is None else Path(folder))
        life.see_through(eyes)
        return life

    def dream(self, class_name: str, count: int, seed: int = 0) -> Tensor:
        """Return ``count`` dreams of a class, as it sees: uint8 [count, C, H, W], or vectors float32 [count, D].

        They are the same for the same ``seed``.

        Raises:
            InputError: this class was not learned, or nothing of it is remembered as pictures, or the count or the seed
                is no such number.
        """
        class_name = self.known_class(class_name)
        count, seed = whole_number(count, "count of dreams"), whole_number(seed, "seed of dreams")
        if count < 1:
            raise InputError(f"The count of dreams must be at least 1, not {count}.")
        task = next(task for task, lesson in enumerate(self.lessons) if class_name in lesson.classes)
        if task >= len(self.memories):
            raise InputError("This life dreams nothing of this class.")
        counts = [count if name == class_name else 0 for name in self.lessons[task].classes]
        return self.recall(task, counts, (seed, "look", class_name)).inputs
