"""Labelled images and tasks, and the forms in which they come."""
