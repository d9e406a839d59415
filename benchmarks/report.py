"""How every benchmark writes down what it measured: a table with the command, the machine and the versions."""

import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from mygo.jobs.experiment import versions

RESULTS = Path(__file__).resolve().parent / "results"


def machine() -> str:
    """Return the processor and its cores in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return f"{os.cpu_count()} cores, {model}"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def write_report(name: str, title: str, command: str, body: str) -> Path:
    """Write ``benchmarks/results/<name>.md`` and return its path."""
    found = ", ".join(f"{package} {version}" for package, version in versions().items())
    path = RESULTS / f"{name}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"# {title}\n\n`{command}`\n\n{machine()}; {found}\n\n{body}\n")
    return path


def check_data_is_named(**sources: Path | None) -> None:
    """End here, with exit code 2, unless one of the flags that name data is given: the results would be empty."""
    if not any(sources.values()):
        print(
            f"There is nothing to measure: name data with {' or '.join(f'--{flag}' for flag in sources)}.",
            file=sys.stderr,
        )
        sys.exit(2)
