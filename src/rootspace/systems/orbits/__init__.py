"""Orbits of a base vector: counting and indexing, decoding by sorting, and the trellis that sums over all of them."""
