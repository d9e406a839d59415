"""A lesson of vectors that is killed twenty times goes on each time, and ends as one that nobody disturbed."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mygo.jobs.life import Life
from tests.mygo.jobs.knowledge import assert_same_weights

SCRIPT = Path(__file__).with_name("killed_lessons.py")


def test_lessons_that_are_killed_twenty_times_end_as_undisturbed(
    tmp_path: Path, write_vectors: Callable[..., str]
) -> None:
    sources = [
        write_vectors(tmp_path / "first.npz", ("ash", "birch"), 300, dim=64),
        write_vectors(tmp_path / "second.npz", ("cedar",), 300, dim=64),
    ]
    done = subprocess.run([sys.executable, SCRIPT, tmp_path, *sources], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout)
    print(seen)
    assert seen["codes"] == [*[-9] * 10, 0, *[-9] * 10, 0], done.stderr[-2000:]
    assert {"encode", "teach"} <= set(seen["at"])
    undisturbed, killed = (Life.open(tmp_path / name) for name in ("undisturbed", "killed"))
    assert killed.class_names == undisturbed.class_names == ["ash", "birch", "cedar"]
    assert [lesson.images for lesson in killed.lessons] == [lesson.images for lesson in undisturbed.lessons]
    assert_same_weights(undisturbed, killed)
    assert killed.record.nearest_neighbour_ratio == undisturbed.record.nearest_neighbour_ratio
    assert not (tmp_path / "killed" / "features").exists()
    names = {path.name.partition("-")[0].partition(".")[0] for path in (tmp_path / "killed").iterdir()}
    assert names == {path.name.partition("-")[0].partition(".")[0] for path in (tmp_path / "undisturbed").iterdir()}
