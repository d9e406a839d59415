"""``drift``: do the inputs of today look like what was learned?"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from mygo.cli.flags import AsJson, OptionalPath
from mygo.cli.folders import LifeFolder, open_life
from mygo.errors import InputError
from mygo.reporting.console import new_table, plain, print_json

if TYPE_CHECKING:
    from mygo.unlabelled.drift import Drift as Found


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Test whether inputs look like what the life has learned, over all and for each class."""

    inputs: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="INPUT …", help_behavior_hint="(required)")
    ]
    """As for predict: inputs of today, which need no labels. 30 at the least; some hundreds tell more."""
    life: LifeFolder
    alpha: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 0.05
    """How often inputs that did not change may be said to have drifted."""
    as_json: AsJson = False
    encoder_weights: OptionalPath = None
    """File with the weights of the life's encoder, where it does not find them itself."""

    def __post_init__(self) -> None:
        if not self.inputs:
            raise InputError("drift needs inputs: name files, or a folder of images.")
        if not 0 < self.alpha < 1:
            raise InputError(f"--alpha must be between 0 and 1, not {self.alpha}.")

    def run(self, console: Console) -> None:
        """Print what the tests say."""
        from mygo.cli.unlabelled.inputs import look_at
        from mygo.unlabelled.drift import DriftTest

        life = open_life(self.life)
        test = DriftTest(life)
        looked = look_at(life, self.inputs, self.encoder_weights)
        found = test.test(test.look(looked.seen), self.alpha)
        if self.as_json:
            print_json(console, as_json(found))
            return
        console.print(plain(verdict(found)))
        console.print(classes_table(found))


def as_json(found: "Found") -> dict[str, Any]:
    """Return what ``drift --json`` prints."""
    values = asdict(found)
    classes = [{"class": each.pop("name"), **each} for each in values.pop("classes")]
    return {"drifted": found.drifted, **values, "classes": classes}


def verdict(found: "Found") -> str:
    """Return in sentences what the tests say."""
    says = "do not look like what was learned" if found.drifted else "look like what was learned, as far as can be told"
    single = "not tested, since lessons held nothing out" if found.p_strange is None else f"p = {found.p_strange:.3g}"
    return (
        f"These {found.inputs:,} inputs {says} (p = {found.p_value:.3g}; of inputs that did not change, "
        f"{found.alpha:.1%} would be said to have drifted). Single inputs are stranger than held-out ones: {single}. "
        f"Classes have moved: p = {found.p_moved:.3g}."
    )


def classes_table(found: "Found") -> Table:
    """Return what is said of each class, those that changed most at first."""
    table = new_table(("class",), ("inputs", "p", "changed"))
    for each in sorted(found.classes, key=lambda one: 2.0 if one.p_value is None else one.p_value):
        p_value = "too few" if each.p_value is None else f"{each.p_value:.3g}"
        table.add_row(plain(each.name), f"{each.inputs:.0f}", p_value, "yes" if each.changed else "")
    return table
