"""Generated pictures of normal and defective things, with exact masks and captions, to train the pocket backbone.

`from pictures.sample import make, stream` is the whole interface. Nothing here is in the wheel, and no photograph
goes into a picture: variety comes from procedures and a seed alone.
"""
