"""COCO's metrics, and their distance from pycocotools."""
