"""JudgeBench: how often a judge or an oracle prefers the right one of two responses."""
