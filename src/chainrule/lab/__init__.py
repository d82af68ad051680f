"""Labs: each claim of the lecture, measured and drawn."""
