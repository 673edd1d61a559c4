"""Images as they arrive: a hot folder, a video, a camera or a stream, each image scored once."""
