"""Training on a GPU. Where there is none, only what needs none is tested."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from mygo.config.learner import GanConfig
from mygo.config.presets import preset
from mygo.config.settings import change
from mygo.data.examples import Examples
from mygo.errors import InputError, NonFiniteError, StoppedError
from mygo.jobs.experiment import Experiment, ExperimentConfig
from mygo.jobs.life import Life
from mygo.memory.gan import train_gan
from mygo.networks.generator import Generator
from mygo.phase import PhaseContext
from mygo.training.checkpoint import Checkpoint, PhaseCheckpointer
from mygo.training.graphs import WARM_UP, Recorded, recordable
from mygo.training.process_group import ProcessGroup, SingleProcess, TorchProcessGroup

GAN = GanConfig(steps=4 * WARM_UP, latent_dim=8, generator_width=8, discriminator_width=8, batch_size=16)
SHORT = {
    "memory.gan.steps": 40,
    "sleep.steps": 40,
    "wake.adapt_steps": 40,
    "wake.head_steps": 20,
    "memory.fidelity_floor": 0.0,
    "memory.diversity_floor": 0.0,
    "precision": "bfloat16",
}

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


def images() -> Examples:
    rng = torch.Generator().manual_seed(0)
    return Examples(torch.randint(0, 256, (64, 1, 28, 28), dtype=torch.uint8, generator=rng), torch.arange(64) % 2)


def memory_of(context: PhaseContext, config: GanConfig = GAN) -> dict[str, torch.Tensor]:
    generator: Generator = train_gan(images(), 2, config, (0, "graphs"), context)
    return {name: tensor.cpu() for name, tensor in generator.state_dict().items()}


def on_gpu(group: ProcessGroup | None = None) -> PhaseContext:
    return PhaseContext(group or SingleProcess("cuda"), precision="bfloat16")


def same(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(some[name], others[name]) for name in some)


def test_an_input_keeps_its_shape() -> None:
    add = Recorded(lambda some, number: {"sum": some + number}, torch.device("cpu"))
    assert add(torch.ones(3), 1.0)["sum"].tolist() == [2.0] * 3
    assert add(torch.zeros(3), 0.5)["sum"].tolist() == [0.5] * 3
    with pytest.raises(ValueError, match=r"of shape \[3\] has become one of \[1\]"):
        add(torch.ones(1), 1.0)


@needs_gpu
def test_recorded_steps_learn_what_eager_ones_do() -> None:
    recorded = memory_of(on_gpu())
    assert same(recorded, memory_of(on_gpu()))
    assert same(recorded, memory_of(replace(on_gpu(), eager=True)))


@needs_gpu
def test_a_single_rank_of_nccl_learns_what_one_process_does() -> None:
    dist.init_process_group("nccl", store=dist.HashStore(), rank=0, world_size=1)
    try:
        ranks = memory_of(on_gpu(TorchProcessGroup("cuda")))
    finally:
        dist.destroy_process_group()
    assert same(ranks, memory_of(on_gpu()))


@needs_gpu
def test_a_loss_that_is_not_finite_is_found_as_on_a_cpu() -> None:
    config = replace(GAN)
    object.__setattr__(config, "generator_lr", 1e38)  # which no flag can have
    with pytest.raises(NonFiniteError) as on_cpu:
        memory_of(PhaseContext(SingleProcess()), config)
    with pytest.raises(NonFiniteError, match=r"step \d+: \w+ is (nan|inf|-inf) on worker 0") as found:
        memory_of(PhaseContext(SingleProcess("cuda")), config)
    assert str(found.value).split(":")[0] == str(on_cpu.value).split(":")[0]


@needs_gpu
def test_training_goes_on_from_where_it_was_stopped() -> None:
    kept: list[Checkpoint] = []
    stopped = iter([False] * (2 * WARM_UP) + [True])
    checkpointer = PhaseCheckpointer("memorise", None, kept.append, 1e9)
    with pytest.raises(StoppedError):
        memory_of(replace(on_gpu(), checkpointer=checkpointer, stop=lambda: next(stopped)))
    again = PhaseCheckpointer("memorise", kept[0], None, 1e9)
    assert again.steps_done(0) == 2 * WARM_UP + 1
    assert same(memory_of(replace(on_gpu(), checkpointer=again)), memory_of(on_gpu()))


@needs_gpu
def test_a_life_on_a_gpu_is_used_like_any_other(tmp_path: Path) -> None:
    config = ExperimentConfig(
        num_tasks=3, strategies=("mygo", "replay", "lwf"), life=change(preset("digits"), {**SHORT})
    )
    Experiment(config, tmp_path).run(SingleProcess("cuda"))
    life = Life.open(tmp_path / "life" / "mygo")
    dreams = life.dream("3", 4)
    assert life.predict(dreams).probabilities.shape == (4, 10)
    life.forget("3", group=SingleProcess("cuda"))
    assert "3" not in life.class_names
    assert Life.open(tmp_path / "life" / "mygo").class_names == life.class_names


@needs_gpu
def test_what_cannot_be_recorded_is_refused() -> None:
    device = torch.device("cuda")
    look = Recorded(lambda some: {"sum": some + float(some.sum())}, device)
    with recordable(device):
        for _ in range(WARM_UP):
            look(torch.ones(3))
        with pytest.raises(InputError, match=r"cannot be recorded as a CUDA graph .* choose eager"):
            look(torch.ones(3))
