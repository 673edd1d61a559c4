"""From rows of results to tables and plots."""
