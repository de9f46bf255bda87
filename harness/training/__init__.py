"""What makes a policy better: sample, compare, pair, anchor, optimise."""
