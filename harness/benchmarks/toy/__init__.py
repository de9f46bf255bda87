"""Two small benchmarks of the toy world."""
