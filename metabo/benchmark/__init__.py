"""How good is it, and compared with what: problems, methods, the grid of runs, and the report."""
