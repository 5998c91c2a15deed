"""Measure the speed and the memory of ckptparse, and compare them with TensorFlow.

See `python -m benchmarks --help`.  README.md in this folder describes every row.
"""
