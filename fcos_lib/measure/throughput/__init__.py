"""Rates, and rates side by side."""
