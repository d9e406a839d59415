"""The commands of ``python -m mygo``."""
