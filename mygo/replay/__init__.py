"""Replay: which dreams a sleep learns from, and who dreams them."""
