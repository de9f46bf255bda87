"""Judges: they grade benchmark answers, and every verdict is kept."""
