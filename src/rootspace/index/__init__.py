"""Embeddings of a trained model in vector databases, and the vector system itself as an index."""

from rootspace.index.database import Hit, Index, Item
from rootspace.index.inverted import SystemIndex
from rootspace.index.opening import build, open

__all__ = ["Hit", "Index", "Item", "SystemIndex", "build", "open"]
