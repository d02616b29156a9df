"""Train encoders on any number of classes without a classification layer."""

__version__ = "0.1.0"
