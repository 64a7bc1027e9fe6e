"""Options: one table of what a run of the suite can be told, for pytest, for the verbs of the command line and for docs/options.md."""
