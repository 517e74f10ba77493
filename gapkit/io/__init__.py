"""Files and names: atomic writing, archives of arrays, classes by name and their plain JSON.

What a model file holds is not decided here but in `potential.files`.  It may import `options` and `exceptions`.
"""
