"""A dreamer of images: the generators of all tasks recall them, and the teacher says what it thinks of them."""

import copy
import math
from collections.abc import Sequence
from dataclasses import fields
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from mygo.config.learner import Precision
from mygo.data.examples import network_input, to_pixels
from mygo.networks.generator import Generator
from mygo.networks.neocortex import NeocortexNet, own_outputs, stacked_heads
from mygo.replay.schedule import LEAST_ROOM, Dreams, SampleRequest
from mygo.training.graphs import Recorded, recordable
from mygo.training.precision import multiplying, with_weights_in

M = TypeVar("M", bound=torch.nn.Module)

DREAM_CHUNK = 128
"""Most images that one call of a network makes or sees while dreaming on a CPU: more do not fit into a core's cache."""


class Dreamer:
    """Recalls images from all memories and has teachers label them. Nothing here is ever trained.

    Each task has the teacher that knows it best: the neocortex as it was before this sleep, the fast learner that
    adapted to the newest task while awake, or the network of another life that learned it.
    """

    def __init__(
        self,
        memories: Sequence[Generator],
        teachers: Sequence[NeocortexNet],
        taught_by: Sequence[int],
        device: torch.device,
        *,
        with_features: bool = False,
        precision: Precision = "float32",
        eager: bool = False,
    ) -> None:
        """Copy the networks, so that a student may change while its teacher does not.

        ``teachers`` have heads for all tasks, and ``taught_by`` says which of them teaches each. On a GPU all is
        recorded after the first blocks, unless it is to be ``eager``.
        """
        self.device = device
        self._warm_up = math.inf if eager else 1
        self._recorded: dict[tuple[int, ...], Recorded] = {}
        self.precision = precision
        self.memories = [frozen(memory, device, precision) for memory in memories]
        self.input_shape, self.taught_by = teachers[0].input_shape, tuple(taught_by)
        self.teachers = [Teacher(net, device, precision) for net in teachers]
        self.feature_dim = teachers[0].feature_dim if with_features else 0
        sizes = torch.tensor(teachers[0].head_sizes, device=device)
        self.first_class = sizes.cumsum(0) - sizes

    @torch.inference_mode()
    def dream(self, order: SampleRequest) -> Dreams:
        """Return the dreams that ``order`` requests, in its order, on the device on which they are dreamt."""
        if self.device.type == "cpu":
            return self._dream(order, [in_chunks(rows) for rows in self._rows(order)])
        with recordable(self.device):
            return self._dream_padded(order)

    def _rows(self, order: SampleRequest) -> list[Tensor]:
        """Return which rows of ``order`` each memory dreams, and then those that each teacher sees."""
        wanted = [order.tasks == task for task in range(len(self.memories))]
        seen_by = torch.tensor(self.taught_by, device=order.tasks.device)[order.tasks]
        wanted += [seen_by == teacher for teacher in range(len(self.teachers))]
        return [which.nonzero().squeeze(1) for which in wanted]

    def _dream(self, order: SampleRequest, chunks: Sequence[Sequence[Tensor]]) -> Dreams:
        """Dream the rows of ``order`` that are in each network's ``chunks``, which come in the order of `_rows`."""
        count, device = len(order.tasks), order.tasks.device
        images = torch.empty(count, *self.input_shape, dtype=torch.uint8, device=device)
        of_memories, of_teachers = chunks[: len(self.memories)], chunks[len(self.memories) :]
        for memory, own in zip(self.memories, of_memories, strict=True):
            for rows in own:
                with multiplying(self.precision, device):
                    recalled = memory(order.noise[rows, : memory.latent_dim], order.labels[rows])
                images[rows] = shifted(to_pixels(recalled.float()), order.shifts[rows])
        logits = torch.empty(count, self.teachers[0].largest_head, device=device)
        features = torch.empty(count, self.feature_dim, device=device)
        for teacher, taught in zip(self.teachers, of_teachers, strict=True):
            for rows in taught:
                with multiplying(self.precision, device):
                    seen, answers = teacher.answer(images[rows], order.tasks[rows])
                logits[rows], features[rows] = answers.float(), seen[:, : self.feature_dim].float()
        return Dreams(images, order.tasks, order.labels + self.first_class[order.tasks], logits, features)

    def _dream_padded(self, order: SampleRequest) -> Dreams:
        """Dream as a recorded graph: in the room that its networks do not need, they dream a row more, again and again.

        How much room there is depends on nothing but the schedule, since batches of another size may round differently.
        """
        rows, count, room = self._rows(order), len(order.tasks), list(order.room)
        for teacher in range(len(self.teachers)):
            own = sum(each for each, taught_by in zip(order.room, self.taught_by, strict=True) if taught_by == teacher)
            room.append(max(LEAST_ROOM, min(count, own)))
        if any(len(part) > most for part, most in zip(rows, room, strict=True)):
            room = [count] * len(rows)
        sizes = count, *room
        if sizes not in self._recorded:
            self._recorded[sizes] = Recorded(self._dream_flat, self.device, self._warm_up)
        with_one_more = [torch.cat([tensor, torch.zeros_like(tensor[:1])]) for tensor in order.tensors]
        filled = [F.pad(part, (0, most - len(part)), value=count) for part, most in zip(rows, room, strict=True)]
        found = self._recorded[sizes](*with_one_more, *filled)
        return Dreams(*(found[field.name][:count].clone() for field in fields(Dreams)))

    def _dream_flat(self, *tensors: Tensor) -> dict[str, Tensor]:
        tasks, labels, noise, shifts, *rows = tensors
        dreams = self._dream(SampleRequest(tasks, labels, noise, shifts), [(part,) for part in rows])
        return {field.name: getattr(dreams, field.name) for field in fields(Dreams)}


class Teacher:
    """A network that answers for the tasks that it knows best, with all its heads as one layer."""

    def __init__(self, net: NeocortexNet, device: torch.device, precision: Precision) -> None:
        """Copy ``net`` to ``device``, where it multiplies in ``precision``."""
        self.features = frozen(net.features, device, precision)
        self.heads = frozen(stacked_heads(net), device, precision)
        self.own = own_outputs(net.head_sizes, device)
        self.largest_head = max(net.head_sizes)

    def answer(self, images: Tensor, tasks: Tensor) -> tuple[Tensor, Tensor]:
        """Return features [N, F] of ``images`` uint8 [N, C, H, W], and the logits [N, H] of the heads of ``tasks`` [N].

        The logits of a head that is smaller than the largest, H, are filled up with 0.
        """
        features = self.features(network_input(images))
        logits = self.heads(features).gather(1, self.own.positions[tasks])
        return features, logits * self.own.real[tasks]


def in_chunks(rows: Tensor) -> tuple[Tensor, ...]:
    """Cut ``rows`` [N] into chunks of like size, each at most `DREAM_CHUNK`.

    No chunk is empty, and none is a remainder of one image, which has too few values for some normalisations.
    """
    return rows.tensor_split(-(-len(rows) // DREAM_CHUNK)) if len(rows) else ()


def frozen(module: M, device: torch.device, precision: Precision) -> M:
    """Return a copy of ``module`` on ``device`` that does not learn, and multiplies in ``precision``."""
    return with_weights_in(precision, copy.deepcopy(module).to(device).eval().requires_grad_(False))


def shifted(images: Tensor, shifts: Tensor) -> Tensor:
    """Return ``images`` [N, C, H, W], each moved by its ``shifts`` [N, 2] (down, right; in pixels), edges repeated."""
    count, channels, height, width = images.shape
    rows = (torch.arange(height, device=images.device) - shifts[:, :1]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) - shifts[:, 1:]).clamp(0, width - 1)
    places = (rows[:, :, None] * width + columns[:, None, :]).view(count, 1, -1).expand(-1, channels, -1)
    return images.flatten(2).gather(2, places).view_as(images)
