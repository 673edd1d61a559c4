"""Plugins that are imported in several threads at once leave the process as it was."""

from __future__ import annotations

import os
import sys
import threading

from vlmad_core.registry import Registry

SLOW = """
import os, sys, time
print("chatty")
os.write(1, b"very chatty\\n")
time.sleep(0.2)
print("still chatty")
"""


def test_two_plugins_imported_in_two_threads_leave_stdout_where_it_was(tmp_path, monkeypatch, capfd):
    names = ["vlmad_slow_one", "vlmad_slow_two"]
    for name in names:
        (tmp_path / f"{name}.py").write_text(SLOW)
    monkeypatch.syspath_prepend(str(tmp_path))
    registry, stdout, file = Registry(), sys.stdout, os.fstat(1)
    threads = [threading.Thread(target=registry.add, args=(name, name.replace("_", "-"))) for name in names]
    for i, thread in enumerate(threads):
        thread.start()
        threading.Event().wait(0.1 * (i == 0))  # the second begins, and ends, while the other is at work
    for thread in threads:
        thread.join()
    for name in names:
        sys.modules.pop(name)
    assert sorted(plugin.status for plugin in registry.plugins) == ["loaded", "loaded"]
    assert sys.stdout is stdout
    assert os.path.samestat(os.fstat(1), file)
    print("after", flush=True)
    os.write(1, b"after, by number\n")
    assert capfd.readouterr().out.endswith("after\nafter, by number\n")
