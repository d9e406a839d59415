"""The commands that look at inputs without labels, and what they share."""
