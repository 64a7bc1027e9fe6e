"""What an OM does, by its graph and by atc's reports."""
