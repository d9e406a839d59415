"""The learner: its state, the folder that it is saved in, what it predicts, and how it is exported."""
