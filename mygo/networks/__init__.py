"""Backbones, the neocortex and the layers that networks are made of."""
