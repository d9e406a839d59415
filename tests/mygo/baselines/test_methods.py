"""The baselines that keep real data."""

from dataclasses import replace

import torch

from mygo.baselines.registry import STRATEGIES
from mygo.cycle import live
from mygo.jobs.experiment import Experiment
from mygo.learner.learner import Learner
from mygo.memory.forms import memory_bytes_of
from mygo.phase import PhaseContext
from mygo.training.process_group import SingleProcess


def test_replay_behind_an_encoder_keeps_vectors_in_half_precision_in_the_bytes_of_a_memory(
    experiment_on_vectors: Experiment,
) -> None:
    config = replace(experiment_on_vectors.config, strategies=("replay",))
    experiment = replace(experiment_on_vectors, config=config, out=None)
    results = experiment.run()["strategies"]["replay"]
    room = memory_bytes_of(config.life, 2, (12,))
    assert results["memory_bytes"] == 2 * (room // 24) * 24, "12 values of two bytes"


def test_replay_keeps_the_first_of_shuffled_examples_and_images_as_they_are(tiny_experiment: Experiment) -> None:
    stream = tiny_experiment.open_stream()
    life = Learner("replay", tiny_experiment.config.life, stream.input_shape)
    live(life, STRATEGIES["replay"], stream, PhaseContext(SingleProcess()))
    room = memory_bytes_of(life.config, 5, (1, 8, 8))
    for kept in life.exemplars:
        assert kept.inputs.dtype == torch.uint8
        assert room - 64 < kept.nbytes <= room
        assert len(kept.labels.unique()) > 1
