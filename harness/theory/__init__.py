"""The paper's theory as exact games: a policy is a vector, a preference a matrix."""
