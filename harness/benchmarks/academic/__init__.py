"""Academic tasks, by lm-evaluation-harness in a process of its own."""
