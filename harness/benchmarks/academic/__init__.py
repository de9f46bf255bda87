"""Academic tasks with known answers, by lm-evaluation-harness in a separate process."""
