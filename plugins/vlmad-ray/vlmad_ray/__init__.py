"""A detector over millions of images: Ray Data distributes the work, the core judges."""
