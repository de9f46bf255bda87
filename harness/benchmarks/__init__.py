"""The benchmarks: one package per protocol, one class per version of it."""
