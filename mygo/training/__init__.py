"""The training loop, and what it runs on: process groups, CUDA graphs, precision, optimiser, checkpoints."""
