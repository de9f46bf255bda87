"""What measures a policy: answer, judge, score."""
