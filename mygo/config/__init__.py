"""Settings as plain values, and the default learner of each data set."""
