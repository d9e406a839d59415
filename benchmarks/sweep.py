"""What sharing memories saves a sweep, and what its winner is worth: the same sweep with sharing on and off.

python benchmarks/sweep.py        about 17 minutes on two cores; writes benchmarks/results/sweep.md
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

from benchmarks.report import table, write_report  # noqa: E402


def sweep(out: Path, *flags: str) -> dict[str, Any]:
    """Run one sweep and return its results."""
    command = [sys.executable, str(REPOSITORY / "tune" / "sweep.py"), "--out", str(out), *flags]
    subprocess.run(command, check=True)
    results: dict[str, Any] = json.loads((out / "results.json").read_text())
    return results


def main() -> None:
    """Run both and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-samples", default="16")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mygo-sweep-") as folder:
        shared = sweep(Path(folder) / "shared", "--num-samples", flags.num_samples)
        search_only = ("--finalists", "0", "--test-seeds", "0")
        alone = sweep(Path(folder) / "alone", "--num-samples", flags.num_samples, "--own-memories", *search_only)
    rows = [
        [name, count(results), f"{results['seconds']['search']:.0f}"]
        for name, results in (("shared", shared), ("own (--own-memories)", alone))
    ]
    rows.append(["own / shared", "", f"{alone['seconds']['search'] / shared['seconds']['search']:.2f}"])
    stages = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in shared["seconds"].items())
    tested = [
        [name, *(f"{score:.4f}" for score in shared["test"][name]["class_il"]), f"{shared['test'][name]['mean']:.4f}"]
        for name in ("defaults", "winner")
    ]
    seeds = [f"seed {seed}" for seed in shared["test"]["seeds"]]
    body = "\n\n".join(
        [
            table(["memories", "trials finished, stopped", "search, seconds"], rows),
            f"All stages with shared memories: {stages}, {sum(shared['seconds'].values()):.0f} s in all.",
            "Test class-IL of the sweep with shared memories, on seeds that the search did not see:",
            table(["", *seeds, "mean"], tested),
            f"Winner: `{json.dumps(shared['winner'])}`",
        ]
    )
    print(write_report("sweep", "A sweep over sleep on digits", "python benchmarks/sweep.py", body).read_text())


def count(results: dict[str, Any]) -> str:
    """Return how many trials finished and how many were stopped."""
    statuses = [trial["status"] for trial in results["trials"]]
    return f"{statuses.count('finished')}, {statuses.count('stopped')}"


if __name__ == "__main__":
    main()
