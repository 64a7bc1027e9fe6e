"""Which NPU, who may use it, and whether it still computes what it computed."""
