"""What a process knows by name, its workers know too."""

import subprocess
import sys
from pathlib import Path

import pytest

from distributed.job import REGISTRIES, pack_registries

OWN = """
import mygo

mygo.use_dataset("own", lambda data_root: None, num_classes=2)
mygo.use_encoder("own", lambda: None)
mygo.use_backbone("own", lambda shape: None)
mygo.use_generator("own", mygo.Generator)
mygo.use_strategy("own", lambda life, task, data, context: None, description="does nothing")
"""
ASK = """
import sys
from distributed.job import REGISTRIES, unpack_registries
assert not any("own" in registry for registry in REGISTRIES)
unpack_registries(sys.stdin.buffer.read())
assert all("own" in registry for registry in REGISTRIES), [list(registry) for registry in REGISTRIES]
"""


def test_what_was_made_known_by_name_is_known_to_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_of_all_kinds.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    before = [dict(registry) for registry in REGISTRIES]
    __import__("own_of_all_kinds")
    packed = pack_registries()
    for registry, entries in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(entries)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {ASK}"
    found = subprocess.run([sys.executable, "-c", code], input=packed, capture_output=True, timeout=120)
    assert found.returncode == 0, found.stderr.decode()
