"""A life in service on Ray Serve, over HTTP."""
