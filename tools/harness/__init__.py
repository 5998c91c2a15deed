"""Shared code of the cases. It runs in each TensorFlow environment, on Python 3.6 to 3.12."""
