"""Watches a folder with a cheap detector until it is idle: ``python watcher.py FOLDER STATE DONE``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from test_hot_folder import SUFFIXES, score

from vlmad_watch.actions import Move
from vlmad_watch.hot_folder import FolderOptions, watch_folder

if __name__ == "__main__":
    folder, state, done = map(Path, sys.argv[1:])
    options = FolderOptions(settle=0.2, give_up=5, poll=0.02, batch_size=8, idle=0.5)
    watch_folder(folder, state, score, suffixes=SUFFIXES, action=Move(done), options=options)
