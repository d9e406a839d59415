"""What a life predicts of new images, with and without the task given."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from mygo.data.examples import ImageShape, network_input
from mygo.data.images import as_picture, as_pixels, is_image_shape, reason, with_channels
from mygo.data.spelling import composed
from mygo.errors import InputError
from mygo.learner.learner import Learner
from mygo.learner.limits import detector_input, detector_of
from mygo.learner.state import NOTHING_LEARNED
from mygo.unknown.threshold import threshold_at

SEEN_TOGETHER = 500
"""Images that go through the network at once."""

NO_SCORE = (
    "This life cannot tell what it does not know: that takes memories of two classes or more, and no lesson that it is "
    "in the middle of."
)
Images: TypeAlias = Tensor | npt.NDArray[Any] | Image.Image | Sequence[Image.Image | npt.NDArray[Any] | Tensor]
"""What a life can predict (see `as_seen`)."""


@dataclass(frozen=True)
class Predictions:
    """For N images, the probability of each of K classes."""

    class_names: tuple[str, ...]
    probabilities: Tensor
    """float32 [N, K]; each row sums to 1. They are calibrated, if the life was once it had slept."""
    out_of_distribution: Tensor | None = None
    """The out-of-distribution score of each image, float32 [N]: the higher, the less it looks like anything known. None
    where the life has none: see `mygo.learner.limits.detector_of`."""
    thresholds: Tensor | None = None
    """Of that score, for each of `mygo.unknown.rates.RATES`."""

    @property
    def names(self) -> list[str]:
        """The most probable class of each image."""
        return [self.class_names[best] for best in self.probabilities.argmax(1).tolist()]

    @property
    def confidences(self) -> Tensor:
        """The probability of the most probable class of each image, [N]."""
        return self.probabilities.amax(1)

    def unknown(self, share: float = 0.05) -> Tensor:
        """Return which images look like nothing that is known, bool [N]; of known ones it is to be ``share``.

        Raises:
            InputError: there is no threshold for that share, or the life has no score.
        """
        if self.out_of_distribution is None or self.thresholds is None:
            raise InputError(NO_SCORE)
        return self.out_of_distribution > threshold_at(self.thresholds, share)


Answers: TypeAlias = Tensor | tuple[Tensor, Tensor]
"""Logits [N, K]; of a life that knows its limits, also the out-of-distribution score [N] of each input."""


class Classifier(nn.Module):
    """What a life knows, from pixels or vectors to its answers."""

    def __init__(self, life: Learner) -> None:
        """Copy the networks of ``life`` to the CPU.

        Raises:
            InputError: the life has learned no class.
        """
        super().__init__()
        if not life.neocortex.head_sizes:
            raise InputError(NOTHING_LEARNED)
        self.input_shape = life.input_shape
        self.neocortex = copy.deepcopy(life.neocortex)
        self.detector = copy.deepcopy(detector_of(life))
        self.temperature = life.temperature
        """Of its probabilities."""
        self.on_features = life.on_features
        self.cpu().eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Answers:
        """Return logits [N, K] over all classes learned, head after head, for ``images``, or for vectors [N, D]."""
        inputs = network_input(images)
        features = self.neocortex.features(inputs)
        logits = self.neocortex.classify(features)
        if self.detector is None:
            return logits
        seen = detector_input(inputs, features, self.detector.feature_dim, on_features=self.on_features)
        return logits, self.detector(seen, logits)


def predict(life: Learner, images: Images, lesson: str | None = None) -> Predictions:
    """Return how probable ``life`` finds each class for ``images``, in any of the forms that `as_seen` takes.

    With the name of a ``lesson`` it picks among that lesson's classes alone (task-IL), else among all (class-IL).

    Raises:
        InputError: the images are of another form, there is no such lesson, or nothing was learned yet.
    """
    return classify(life, as_seen(images, life.image_shape), lesson)


@torch.no_grad()
def classify(life: Learner, seen: Tensor, lesson: str | None = None) -> Predictions:
    """Return how probable ``life`` finds each class for what it has ``seen``: images, or vectors [N, D] of an encoder.

    Raises:
        InputError: there is no such ``lesson``, or nothing was learned yet.
    """
    classifier = Classifier(life)
    names, columns = tuple(life.class_names), slice(None)
    if lesson is not None:
        taught = {each.name: index for index, each in enumerate(life.lessons)}
        index = taught.get(composed(lesson) if isinstance(lesson, str) else lesson)
        if index is None:
            raise InputError(f"This life had no lesson {lesson!r}: choose from {', '.join(map(repr, taught))}.")
        start = sum(life.neocortex.head_sizes[:index])
        columns = slice(start, start + life.neocortex.head_sizes[index])
        names = names[columns]
    if len(seen) == 0:
        return Predictions(names, torch.empty(0, len(names)))
    return predictions_of(classifier, seen, names, columns)


@torch.no_grad()
def predictions_of(
    classifier: Classifier, seen: Tensor, class_names: tuple[str, ...], columns: slice = slice(None)
) -> Predictions:
    """Return what ``classifier`` says of N inputs ``seen``, at least one, among the classes in ``columns`` alone.

    ``class_names`` are those of these classes.
    """
    answers = [classifier(part) for part in seen.split(SEEN_TOGETHER)]
    logits = torch.cat([logits_in(each) for each in answers])[:, columns]
    shown = (logits / classifier.temperature).softmax(1)
    if classifier.detector is None:
        return Predictions(class_names, shown)
    return Predictions(class_names, shown, torch.cat([each[1] for each in answers]), classifier.detector.thresholds)


def logits_in(answers: Answers) -> Tensor:
    """Return the logits of ``answers``."""
    return answers if isinstance(answers, Tensor) else answers[0]


def as_seen(images: Images, image_shape: ImageShape) -> Tensor:
    """Return ``images`` as uint8 [N, C, H, W] of ``image_shape``.

    A tensor, or an array of its form, must be just that. Others become it as images in files do, resized, and turned
    grey where the life sees in grey: an array uint8 [N, H, W, C] or [N, H, W], a PIL image, or a sequence of what
    `mygo.data.images.as_picture` takes.

    Raises:
        InputError: they are of none of these forms, or of two.
    """
    wanted = f"uint8 [N, {', '.join(map(str, image_shape))}]"
    if isinstance(images, Tensor | np.ndarray):
        found = f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
        if images.dtype in (torch.uint8, np.uint8) and tuple(images.shape[1:]) == image_shape:
            return images if isinstance(images, Tensor) else torch.from_numpy(np.array(images, order="C"))
        if isinstance(images, Tensor):
            raise InputError(f"This life sees images {wanted}, not {found}.")
        if not are_pictures(images):
            raise InputError(
                f"This life sees images {wanted}, or arrays uint8 [N, H, W, C] or [N, H, W] of any size, not {found}: "
                "put a single image into a list."
            )
    elif isinstance(images, Image.Image):
        images = [images]
    elif isinstance(images, str | bytes) or not isinstance(images, Sequence):
        raise InputError(
            f"This life sees a tensor {wanted}, arrays and PIL images, not what is of the type "
            f"{type(images).__name__}: open files with PIL.Image.open."
        )
    rows = [row_of(image, index, image_shape) for index, image in enumerate(images)]
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, *image_shape, dtype=torch.uint8)


def are_pictures(images: npt.NDArray[Any]) -> bool:
    """Return whether ``images`` are uint8 [N, H, W, C] or [N, H, W], and cannot be a single image as well."""
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not is_image_shape(images.shape[1:]):
        return False
    return images.ndim == 4 or not {images.shape[0], images.shape[2]} & {1, 3}


def row_of(image: object, index: int, image_shape: ImageShape) -> npt.NDArray[np.uint8]:
    """Return one image as uint8 [C, H, W] of ``image_shape``.

    Raises:
        InputError: it is none.
    """
    try:
        return with_channels(as_pixels(as_picture(image), image_shape[1:]), image_shape[0])
    except Exception as error:  # whatever a damaged file makes PIL raise
        raise InputError(f"Image {index} cannot be seen ({reason(error)}): convert it or leave it out.") from error
