"""Use of a Prior from within other optimisation frameworks; each file needs its own package."""
