"""The command line: parse, load, delegate; the only place that prints."""
