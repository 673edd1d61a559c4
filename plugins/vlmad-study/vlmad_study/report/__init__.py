"""The report of a study: Markdown, the same as a page, and JSON."""
