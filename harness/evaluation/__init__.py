"""Evaluation of a policy: answer, audit, judge, score."""
