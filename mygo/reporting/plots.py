"""The pictures of a report."""

import itertools
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich import filesize
from torch.nn import functional as F

from mygo.baselines.registry import STRATEGIES, Look
from mygo.evaluate import Matrix, average_accuracy
from mygo.learner.learner import Learner
from mygo.memory.quality import sample_grid
from mygo.reporting.labels import labels_for
from mygo.reporting.maps import draw_map
from mygo.reporting.remembered import Remembered
from mygo.reporting.results import KINDS, QUALITIES, RunResults, StrategyResults
from mygo.reporting.style import (
    BLUE,
    EMPTY,
    GREEN,
    INK,
    LINE,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    SOFT,
    WIDTH,
    bare,
    png,
    tidy,
)
from mygo.reporting.tensorboard import tile

Floats = npt.NDArray[np.float64]

PHASE_LOOKS = {
    "encode": (RED, "xx"),
    "learn": (SKY, ""),
    "teach": (SKY, ""),
    "adapt": (BLUE, "//"),
    "memorise": (ORANGE, ""),
    "remember": (ORANGE, ""),
    "consolidate": (GREEN, "\\\\"),
    "calibrate": (GREEN, ".."),
    "evaluate": (SOFT, ""),
}
"""Colour and hatching of each phase of MyGO."""
BASELINE_LOOK = (PURPLE, "..")
"""Those of the one phase that a baseline has beside its evaluation."""
MOST_NUMBERED = 20
"""Rows of the largest matrix whose cells have room for numbers."""
DREAMS_PER_CLASS = 10


def draw_all(run: RunResults, remembered: Mapping[str, Remembered]) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return all pictures of ``run`` by name, and the names of classes that they show as numbers, by these.

    ``remembered`` is what its lives behind an encoder remember.
    """
    labels, titles = labels_for(run.learned, "class"), labels_for(list(run.strategies), "strategy")
    with matplotlib.rc_context({"font.family": list(dict.fromkeys([*labels.families, *titles.families]))}):
        figures = _figures(run, labels.texts, dict(zip(run.strategies, titles.texts, strict=True)))
        for name, life in remembered.items():
            figures[f"map-{name}"] = draw_map(life.shown, [labels.texts[label] for label in life.shown.classes])
        return {name: png(figure) for name, figure in figures.items()}, labels.numbered | titles.numbered


def _figures(run: RunResults, labels: Sequence[str], titles: Mapping[str, str]) -> dict[str, Figure]:
    """Return all figures, with ``labels`` for the classes in learning order and ``titles`` for the strategies."""
    strategies = {titles[name]: entry for name, entry in run.strategies.items()}
    figures = {"seconds": draw_seconds(strategies), "bytes": draw_bytes(strategies)}
    if run.measured:
        figures["average-accuracy"] = draw_curves(strategies)
    for name, entry in run.strategies.items():
        for kind, matrix in entry.accuracy.items():
            figures[f"{KINDS[kind].lower()}-{name}"] = draw_accuracies(matrix, f"{titles[name]}, {KINDS[kind]}")
        if entry.confusion:
            heads = [len(task.classes) for task in run.tasks]
            figures[f"confusion-{name}"] = draw_confusion(entry.confusion, labels, heads, titles[name])
        if entry.quality["diversity"]:
            figures[f"quality-{name}"] = draw_quality(entry.quality)
    starts = [0, *itertools.accumulate(len(task.classes) for task in run.tasks)]
    for name, life in run.lives.items():
        for task, _ in zip(run.tasks, life.generators, strict=False):
            own = labels[starts[task.index] : starts[task.index + 1]]
            figures[f"dreams-{name}-task-{task.index + 1}"] = draw_dreams(life, task.index, own)
    return figures


def draw_curves(strategies: Mapping[str, StrategyResults]) -> Figure:
    """Draw the average accuracy after each task, a panel for each kind."""
    figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
    panels = figure.subplots(1, len(KINDS), sharey=True)
    for axes, (kind, title) in zip(panels, KINDS.items(), strict=True):
        tidy(axes, title)
        for name, entry in reversed(list(strategies.items())):  # the first, MyGO, on top
            look = STRATEGIES[name].look if name in STRATEGIES else Look()
            means = [average_accuracy([row]) for row in entry.accuracy[kind]]
            axes.plot(
                range(1, len(means) + 1),
                means,
                look.line,
                color=look.colour,
                marker=look.marker,
                label=name,
                linewidth=2,
            )
        axes.set_ylim(0, 1.03)
        axes.grid(axis="y", color=LINE)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("tasks learned", color=SOFT)
    panels[0].set_ylabel("average accuracy", color=SOFT)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=6, frameon=False)
    return figure


def draw_accuracies(matrix: Matrix, title: str) -> Figure:
    """Draw an accuracy matrix: a row for the state after each task, a column for each task."""
    size = len(matrix)
    cells = np.full((size, size), np.nan)
    for i, row in enumerate(matrix):
        cells[i, : len(row)] = row
    figure, axes = bare(side_of(size))
    heatmap(axes, cells, [[f"{value:.2f}" for value in row] for row in matrix])
    numbers = [str(task + 1) for task in range(size)]
    label_cells(axes, numbers, numbers)
    tidy(axes, title)
    axes.set_xlabel("accuracy on task", color=SOFT)
    axes.set_ylabel("after task", color=SOFT)
    return figure


def draw_confusion(
    confusion: Sequence[Sequence[int]], labels: Sequence[str], heads: Sequence[int], title: str
) -> Figure:
    """Draw a confusion matrix: counts in the cells, coloured by their share of the row; lines part the tasks."""
    counts = np.array(confusion, dtype=np.float64)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    shares[counts == 0] = np.nan
    size = len(counts)
    figure, axes = bare(side_of(size))
    heatmap(axes, shares, [[str(count or "") for count in row] for row in confusion])
    labels = labels[:size]
    label_cells(axes, labels, labels)
    axes.tick_params(axis="x", rotation=0 if max(map(len, labels)) < 3 else 90)
    for end in np.cumsum(heads)[:-1]:
        if end < size:
            axes.axhline(end, color=INK, linewidth=0.8)
            axes.axvline(end, color=INK, linewidth=0.8)
    tidy(axes, title)
    axes.set_xlabel("taken for", color=SOFT)
    axes.set_ylabel("true class", color=SOFT)
    return figure


def draw_dreams(life: Learner, task: int, labels: Sequence[str]) -> Figure:
    """Draw what the memory of ``task`` dreams, a row for each class beside its label, and nothing else."""
    memory = life.generators[task]
    key = (life.config.seed, "report", task)
    images = sample_grid(memory, key, torch.device("cpu"), columns=DREAMS_PER_CLASS)
    pixels = tile(F.pad(images, (1, 1, 1, 1), value=255), len(labels)).permute(1, 2, 0).numpy()
    height = pixels.shape[0] / len(labels)
    figure, axes = bare(0.45 * DREAMS_PER_CLASS, 0.45 * len(labels))
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_yticks([(row + 0.5) * height - 0.5 for row in range(len(labels))], labels)
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=10, labelcolor=INK)
    axes.spines[:].set_visible(False)
    return figure


def draw_quality(quality: Mapping[str, Sequence[float]]) -> Figure:
    """Draw how good each task's memory is, a panel for each measure."""
    figure = Figure(figsize=(WIDTH, 2.5), layout="constrained")
    for axes, (measure, title) in zip(figure.subplots(1, 4), QUALITIES.items(), strict=True):
        values = quality[measure]
        bars = axes.bar(range(1, len(values) + 1), values, color=BLUE, width=0.7)
        if len(values) <= 5:
            axes.bar_label(bars, [f"{value:.3f}" for value in values], fontsize=8, color=INK, padding=1)
        tidy(axes, title)
        axes.margins(y=0.15)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("memory of task", color=SOFT)
    return figure


def draw_seconds(strategies: Mapping[str, StrategyResults]) -> Figure:
    """Draw how long each strategy took, its phases stacked."""
    figure, axes = lying_bars(strategies, 0.42)
    labelled = set()
    for row, entry in enumerate(strategies.values()):
        start = 0.0
        for phase, seconds in entry.phases.items():
            colour, hatch = PHASE_LOOKS.get(phase, BASELINE_LOOK)
            label = phase if phase in PHASE_LOOKS else "a baseline's training"
            axes.barh(
                row,
                seconds,
                0.6,
                start,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                label="_" if label in labelled else label,
            )
            labelled.add(label)
            start += seconds
        axes.annotate(f"{start:,.0f} s", (start, row), (4, 0), textcoords="offset points", va="center", color=INK)
    axes.set_xlabel("seconds", color=SOFT)
    figure.legend(loc="outside lower center", ncols=6, frameon=False)
    return figure


def draw_bytes(strategies: Mapping[str, StrategyResults]) -> Figure:
    """Draw the bytes that each strategy keeps beside those of the training data that it saw."""
    figure, axes = lying_bars(strategies, 0.6)
    rows = np.arange(len(strategies))
    kept = [entry.memory_bytes for entry in strategies.values()]
    replaced = [entry.replaced_bytes for entry in strategies.values()]
    for shift, sizes, colour, hatch, label in (
        (-0.19, kept, BLUE, "", "kept to remember with"),
        (0.19, replaced, LINE, "//", "training data seen"),
    ):
        bars = axes.barh(rows + shift, sizes, 0.36, color=colour, hatch=hatch, edgecolor="white", label=label)
        axes.bar_label(bars, [filesize.decimal(size) for size in sizes], fontsize=9, color=INK, padding=4)
    axes.xaxis.set_major_formatter(lambda value, _: filesize.decimal(int(value)))
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def lying_bars(strategies: Mapping[str, StrategyResults], height: float) -> tuple[Figure, Axes]:
    """Return a figure and its axes with a row of ``height`` inches for each strategy, the first on top."""
    figure = Figure(figsize=(WIDTH, 1.0 + height * len(strategies)), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    axes.set_yticks(range(len(strategies)), list(strategies))
    axes.set_ylim(len(strategies) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=10)
    axes.grid(axis="x", color=LINE)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.12)
    return figure, axes


def side_of(size: int) -> float:
    """Return the inches of the side of a matrix of ``size`` rows; three of the smallest fit beside each other."""
    return min(max(3.2, 0.3 * size), WIDTH - 1)


def heatmap(axes: Axes, cells: Floats, texts: Sequence[Sequence[str]]) -> None:
    """Draw ``cells`` [rows, columns] from 0 to 1, none where they are NaN, with ``texts`` in them if there is room."""
    size = len(cells)
    axes.set_facecolor(EMPTY)
    edge = 1.0 if size <= MOST_NUMBERED else 0.0
    mesh = axes.pcolormesh(cells, cmap="viridis", vmin=0, vmax=1, edgecolors="w", linewidth=edge)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    if size > MOST_NUMBERED:
        axes.figure.colorbar(mesh, ax=axes, shrink=0.6)
        return
    for (row, column), value in np.ndenumerate(cells):
        if not np.isnan(value):
            colour = "black" if value > 0.6 else "white"
            axes.text(column + 0.5, row + 0.5, texts[row][column], ha="center", va="center", color=colour, fontsize=7.5)


def label_cells(axes: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    """Name the columns and rows of a heatmap."""
    size = 8 if len(rows) <= MOST_NUMBERED else 5
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, fontsize=size)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, fontsize=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
