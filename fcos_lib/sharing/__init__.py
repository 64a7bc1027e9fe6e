"""Results that travel: statements about a run that others can check, and bundles of its pictures that others can replay."""
