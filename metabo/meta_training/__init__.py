"""From a family of tasks to an adapted network."""
