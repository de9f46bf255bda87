"""WildBench v2: ratings (WB-Score) and comparisons (WB-Reward) with a checklist a conversation."""
