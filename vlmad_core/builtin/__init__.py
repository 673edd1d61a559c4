"""Parts that come with the core, registered through the same hooks as everyone else's."""
