"""The situations are scripts that `test_cases.py` runs; they are no tests by themselves."""

collect_ignore_glob = ["[0-9]*.py", "common.py"]
