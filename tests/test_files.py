"""Files are written whole, whoever else writes them."""

from __future__ import annotations

import threading

from vlmad_core.files import write_whole


def test_threads_that_write_one_file_all_succeed_and_leave_one_whole_content(tmp_path):
    path, failures = tmp_path / "image.png", []
    contents = [bytes([i]) * 200_000 for i in range(8)]
    start = threading.Barrier(len(contents))

    def write(content):
        start.wait()
        try:
            for _ in range(20):
                write_whole(path, content)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert path.read_bytes() in contents
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
