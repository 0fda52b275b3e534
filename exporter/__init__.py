"""Compile time: a checkpoint becomes a canonical graph, the graph is lowered per target, and a bundle is sealed."""
