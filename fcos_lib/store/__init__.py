"""What is kept between runs: a store of artifacts by content, and what the code adds to a key."""
