"""A picture's way: from a file of a COCO folder to the network's input, and from its output back to the picture."""
