"""What a life can say of its limits: how sure it may be, and which inputs are of no class that it knows."""
