"""What a person has done: an experiment with its lives, a lesson, a class that is forgotten."""
