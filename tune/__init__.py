"""Sweeps: Ray Tune searches how much to replay and how to weigh what is distilled."""
