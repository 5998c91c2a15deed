"""Read the part of HDF5 that Keras writes: groups, attributes, and arrays of numbers.

`open_hdf5` lists the datasets and the attributes of a file.  It knows nothing of Keras.  Only
metadata is read: `arrays` reads the elements.
"""
