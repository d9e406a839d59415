"""Ray Train: the trainer, its controller, and the events and requests between workers and the driver."""
