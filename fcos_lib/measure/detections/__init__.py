"""Differences between the detections of two sides."""
