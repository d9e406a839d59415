"""What a life makes of inputs without labels: whether they have drifted, and which of them a person should label."""
