"""Generative memories: how they are trained, how good they are, and where trained ones are found again."""
