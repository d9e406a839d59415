"""The packages that some uses of mygo need beyond those that it always has, and how to install them."""

from importlib.metadata import PackageNotFoundError, distribution

EXTRAS = {
    "ray": "ray",
    "optuna": "ray",
    "fastapi": "serve",
    "fastapi_offline": "serve",
    "multipart": "serve",
    "prometheus_client": "serve",
    "python_multipart": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
}
"""The extra that brings a package without which a command cannot work at all, by the name it is imported by."""


def how_to_install(extra: str) -> str:
    """Return the command that installs what an ``extra`` of mygo brings.

    PyPI has another project by the name of mygo, so that name stands only where it is known to be this one.
    """
    try:
        distribution("mygo")
    except PackageNotFoundError:
        return f"pip install -e '.[{extra}]' in the folder of MyGO"
    return f"pip install 'mygo[{extra}]'"
