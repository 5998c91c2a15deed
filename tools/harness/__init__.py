"""What the case scripts share. Runs inside each TensorFlow environment, on Python 3.6 to 3.12."""
