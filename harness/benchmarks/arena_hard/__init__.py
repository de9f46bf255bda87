"""Arena-Hard v0.1 and v2.0."""
