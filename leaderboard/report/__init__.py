"""The report: a page with every figure of a workspace, and each comparison behind it."""
