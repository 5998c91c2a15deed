"""What tf.cast makes of floating-point numbers."""

import tensorflow as tf

from harness import oracle
from harness.cast_values import digest, integers, numbers

FLOATS = ("float64", "float32", "float16", "bfloat16", "float8_e5m2", "float8_e4m3fn")


def casts():
    """SHA-256 of what tf.cast returns: all numbers of 16 and 8 bits, and many of 32 and 64 bits."""
    answers = []
    for source in FLOATS:
        values = numbers(source)
        for target in FLOATS:
            result = tf.cast(tf.constant(values), target).numpy()
            flush = "float64" in (source, target)
            answers.append(dict({"from": source, "to": target}, **digest(result, flush)))
    for source in ("int8", "uint16", "int32", "bool"):
        values = integers(source)
        for target in ("float32", "float16", "bfloat16"):
            result = tf.cast(tf.constant(values), target).numpy()
            answers.append(dict({"from": source, "to": target}, **digest(result)))
    oracle.write_json("answers.json", {"answers": answers})
