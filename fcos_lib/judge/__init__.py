"""Opinions, no numbers of its own: measurements against limits."""
