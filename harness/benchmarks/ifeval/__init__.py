"""Instruction following that a program verifies: IFEval, and what IFBench shares with it."""
