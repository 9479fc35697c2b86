"""Pages for people to look at: one HTML file each, complete without a network."""
