"""What a run leaves behind: `results.json` and the table at its end. Computes nothing."""
