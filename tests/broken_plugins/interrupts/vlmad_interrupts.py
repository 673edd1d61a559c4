"""As if someone pressed Ctrl-C while it is imported."""

raise KeyboardInterrupt
