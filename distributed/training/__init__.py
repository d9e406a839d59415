"""Ray Train: the trainer, its controller, and what workers and the driver tell each other."""
