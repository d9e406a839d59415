"""What MyGO is compared with, and the registry of strategies."""
