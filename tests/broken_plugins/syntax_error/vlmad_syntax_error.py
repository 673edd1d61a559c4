"""It is not Python; compiled while it is imported, so that linters can still read this file."""

exec(compile("def hook(:\n", __file__, "exec"))
