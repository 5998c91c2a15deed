"""Archives of numpy."""

import warnings
import zipfile

import numpy as np

from harness import arrays

try:
    import ml_dtypes
except ImportError:  # there is none for old versions of numpy
    ml_dtypes = None

PATH = "arrays.npz"

NUMBERS = ["f2", "f4", "f8", "c8", "c16", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]

EXTENSIONS = (
    *("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz", "float8_e8m0fnu"),
    *("float4_e2m1fn", "int4", "uint2"),
)


def npz_stored():
    """An array of each dtype and shape, by numpy.savez."""
    save(np.savez)


def npz_compressed():
    """The same, by numpy.savez_compressed."""
    save(np.savez_compressed)


def npz_names():
    """Odd names of arrays, and members that are not arrays."""
    names = ["arr_0", "a/b/c", " space ", "dots..npy", "漢字", "é", "line\nbreak", "a:0", "x" * 300]
    made = {name: np.array(number, "i2") for number, name in enumerate(names)}
    np.savez(PATH, **made)
    with zipfile.ZipFile(PATH, "a") as archive:
        for name in ("notes.txt", "folder/"):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), b"")
    record()


def npz_empty():
    """An archive without arrays."""
    np.savez(PATH)
    record()


def save(write):
    """Write all arrays, and record what numpy.load returns."""
    made = make_arrays()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about dtypes of ml_dtypes
        write(PATH, **made)
    record(made)


def make_arrays():
    """Return arrays by name."""
    made = {}
    for number in NUMBERS:
        values = np.arange(24).reshape(4, 6) % 11 - (0 if number[0] == "u" else 5)
        made[number + "/matrix"] = values.astype("<" + number)
        made[number + "/scalar"] = values[0, 3].astype("<" + number)
        made[number + "/empty"] = np.zeros((0, 3), "<" + number)
        made[number + "/big_endian"] = values.astype(">" + number)
        made[number + "/fortran"] = np.asfortranarray(values.astype("<" + number))
    made["special"] = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324])
    made["cube"] = np.asfortranarray(np.arange(24, dtype=">f4").reshape(2, 3, 4))
    made["bool"] = np.array([[True, False, True]])
    made["S"] = np.array([b"a", b"", b"NUL\0in", b"\xff"])
    made["U"] = np.array([["a", ""], ["é€", "\U0001f600"]])
    made["U/big_endian"] = made["U"].astype(">U3")
    made["datetime"] = np.array(["2020-01-01", "NaT"], "M8[D]")
    made["timedelta"] = np.array([1, -1], "m8[25us]")
    made["void"] = np.frombuffer(b"abcdef", "V3")
    made["record"] = np.array(
        [(1.5, [1, 2], b"x")], [("a", "<f4"), ("b", ">i8", (2,)), ("é", "S3")]
    )
    # numpy does not set the bytes between fields, except of zeros.
    made["record/aligned"] = np.zeros(1, np.dtype([("a", "i1"), ("b", "f8")], align=True))
    made["record/aligned"]["b"] = 2.5
    made["record/nested"] = np.array(
        [((1, 2), 3)], [("n", [("x", "u1"), ("y", "i2")]), ("z", "i4")]
    )
    # There is no numpy of 3.6 that has version 3 of the header, which this name needs.
    made["record/names"] = np.array([(1,)], [("é" if ml_dtypes is None else "漢字", "i4")])
    made["record/long"] = np.zeros(2, [(f"field_{number:03}", "u1") for number in range(300)])
    made["objects"] = np.array([None, "x"], object)
    made["record/objects"] = np.array([(None, 1)], [("a", object), ("b", "i4")])
    if ml_dtypes is not None:
        for name in EXTENSIONS:
            dtype = getattr(ml_dtypes, name)
            made[name] = np.array([0, 1, 1, 0, 1]).astype(dtype)
    made["big"] = np.arange(1500, dtype="<u4").reshape(30, 50)
    return made


def record(made=None):
    """Write expected.json and expected.bin."""
    found, errors = [], []
    with np.load(PATH, allow_pickle=False) as archive:
        for name in archive.files:
            try:
                value, read_by = archive[name], "numpy.load"
            except Exception as error:
                errors.append(arrays.refusal("numpy.load", error, name))
                value, read_by = None, None
                if name == "float8_e5m2":  # numpy writes it, and cannot read it
                    value, read_by = made[name], "as it was written"
            if isinstance(value, np.ndarray):
                found.append((name, value, read_by))
            elif value is None:
                found.append((name, None, None))
    arrays.record("npz", PATH, found, errors)
