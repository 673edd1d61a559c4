"""The command line: one file a command. It uses the core from outside; only judging imports torch."""
