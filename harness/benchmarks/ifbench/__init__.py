"""IFBench's verifiers, and its published run."""
