"""The recipe's disk formats: bins, info file, result folders, ais_bench's figures."""
