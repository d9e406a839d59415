import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mygo import gan, wake
from mygo.cache import MemoryCache
from mygo.data import LabelledImages
from mygo.experiment import Experiment
from mygo.gan import ConvGenerator, GanConfig, Generator
from mygo.journal import Event, Notice, silent
from mygo.memory import as_stored
from mygo.team import Solo


def blank() -> Generator:
    return ConvGenerator(2, (1, 8, 8), latent_dim=4, width=8)


def trained() -> Generator:
    generator = blank()
    as_stored(generator)
    return generator


def test_what_is_trained_once_is_recalled_bit_by_bit(tmp_path: Path) -> None:
    cache = MemoryCache(tmp_path / "cache")
    first = cache.recall_or_train("a", blank(), trained, Solo(), silent)
    calls: list[int] = []
    again = cache.recall_or_train("a", blank(), lambda: calls.append(1) or trained(), Solo(), silent)
    assert calls == []
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    other = cache.recall_or_train("b", blank(), lambda: calls.append(1) or trained(), Solo(), silent)
    assert calls == [1]
    assert not torch.equal(other.state_dict()["embed.weight"], first.state_dict()["embed.weight"])


def test_two_that_need_the_same_memory_at_once_train_it_once(tmp_path: Path) -> None:
    cache = MemoryCache(tmp_path)
    begun, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def slowly() -> Generator:
        calls.append(1)
        begun.set()
        assert go_on.wait(30)
        return trained()

    found: list[Generator] = []

    def ask() -> None:
        found.append(cache.recall_or_train("a", blank(), slowly, Solo(), silent))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    threads[0].start()
    assert begun.wait(30)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert calls == [1]
    assert torch.equal(found[0].embed.weight, found[1].embed.weight)


def test_a_damaged_memory_is_noticed_and_trained_again(tmp_path: Path) -> None:
    cache = MemoryCache(tmp_path)
    kept = trained()
    cache.recall_or_train("a", blank(), lambda: kept, Solo(), silent)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    events: list[Event] = []
    again = cache.recall_or_train("a", blank(), lambda: kept, Solo(), events.append)
    assert again is kept
    assert [file.name in event.text for event in events if isinstance(event, Notice)] == [True]
    recalled = cache.recall_or_train("a", blank(), trained, Solo(), silent)
    assert torch.equal(recalled.embed.weight, kept.embed.weight)


def test_the_address_depends_on_all_that_a_memory_depends_on(
    coloured_squares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, images, config, key, start = MemoryCache(tmp_path), coloured_squares.train, GanConfig(), (0, "m"), blank()

    class Pair(Solo):
        size = 2

    other_pixels = LabelledImages(255 - images.images, images.labels)
    addresses = [
        cache.address(images, config, key, Solo(), None, "float32"),
        cache.address(other_pixels, config, key, Solo(), None, "float32"),
        cache.address(images, replace(config, steps=7), key, Solo(), None, "float32"),
        cache.address(images, config, (1, "m"), Solo(), None, "float32"),
        cache.address(images, config, key, Pair(), None, "float32"),
        cache.address(images, config, key, Solo(), start, "float32"),
        cache.address(images, config, key, Solo(), blank(), "float32"),
    ]
    assert cache.address(images, config, key, Solo(), start, "float32") == addresses[5]
    monkeypatch.setattr("mygo.cache.CODE", (gan,))
    addresses.append(cache.address(images, config, key, Solo(), None, "float32"))
    assert len(set(addresses)) == len(addresses)


def test_a_life_with_a_cache_is_the_life_without(
    tiny_experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tiny_experiment.run()["strategies"]["mygo"]
    cached = replace(tiny_experiment, out=None, memory_cache=tmp_path / "cache")
    filled = cached.run()["strategies"]["mygo"]
    monkeypatch.setattr(wake, "train_gan", None)  # whoever calls it now fails
    recalled = cached.run()["strategies"]["mygo"]
    for key in ("accuracy_matrix", "label_fidelity", "diversity", "memory_bytes"):
        assert plain[key] == filled[key] == recalled[key], key
    life = cached.config.life
    other_sleep = replace(life, sleep=replace(life.sleep, steps=5, lr=3e-3))
    replace(cached, config=replace(cached.config, life=other_sleep)).run()
    with pytest.raises(TypeError):
        replace(cached, config=replace(cached.config, life=replace(life, seed=9))).run()
