"""Two small benchmarks on the toy world."""
