"""Rows, measured or published, and the tables made of them."""
