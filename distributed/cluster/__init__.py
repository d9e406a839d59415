"""The Ray cluster: the session, who runs where, room, what must be true of every node, and jobs there."""
