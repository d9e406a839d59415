"""MyGO on Ray: the training workers, the pool of dreamers, and the main command."""
