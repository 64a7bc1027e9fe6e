"""Why a number dropped: stages, error types, layers, and what is to blame."""
