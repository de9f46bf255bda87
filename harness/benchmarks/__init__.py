"""Evaluation protocols: one class a protocol version."""
