"""How fast and how small ckptparse is, measured side by side with TensorFlow.

`python -m benchmarks --help`; README.md beside this file says what every row means.
"""
