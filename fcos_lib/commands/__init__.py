"""The verbs of `python -m fcos_lib`: each takes the parsed options, prints, and returns an exit status."""
