"""MyGO: lifelong learning by wake and sleep, without stored data."""

__version__ = "0.1.0"
