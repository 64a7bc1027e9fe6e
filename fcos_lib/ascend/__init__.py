"""CANN from outside: the toolkit's whereabouts, `npu-smi`, `atc` and sessions of a compiled OM."""
