"""Where the rows of a training come from: memory, or a stream."""
