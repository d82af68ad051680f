"""The command line: a table in, a trained network and its predictions out."""
