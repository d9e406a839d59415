"""``report``: the report of a run or a life, as a page."""

from dataclasses import dataclass

from rich.console import Console

from mygo.cli.folders import LifeFolder, run_or_life
from mygo.reporting.console import plain


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write report.html and its pictures into the folder of a life, or of a run with all of its strategies."""

    life: LifeFolder

    def run(self, console: Console) -> None:
        """Write the report."""
        from mygo.files import check_writable
        from mygo.reporting.report import write_report

        folder = run_or_life(self.life)
        check_writable(folder, "allow writing to it, or copy it to where you may write")
        console.print(plain(f"Report: {write_report(folder)}"), soft_wrap=True)
