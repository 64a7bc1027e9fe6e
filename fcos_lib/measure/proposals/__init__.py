"""Differences between what reaches NMS on two sides."""
