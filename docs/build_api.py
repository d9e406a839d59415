"""The API page, made by pdoc from the docstrings: `make docs`, then open docs/api/index.html.

python docs/build_api.py [FOLDER]
"""

import pkgutil
import sys
from pathlib import Path

import pdoc

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

import mygo  # noqa: E402


def build(folder: Path) -> None:
    """Write a page for `mygo` and one for each of its modules into ``folder``."""
    for name in mygo.__all__:  # pdoc shows what a module has, and these are imported when they are asked for
        setattr(mygo, name, getattr(mygo, name))
    modules = [f"mygo.{module.name}" for module in pkgutil.iter_modules(mygo.__path__) if module.name != "__main__"]
    pdoc.render.configure(docformat="google", footer_text=f"MyGO {mygo.__version__}")
    pdoc.pdoc("mygo", *modules, output_directory=folder)


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "docs" / "api")
