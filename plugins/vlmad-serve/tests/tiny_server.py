"""``python tiny_server.py FOLDER``: the server of the tests in a process of its own, which prints its address."""

import sys
from pathlib import Path

from vlmad_core.registry.registry import Registry
from vlmad_core.testing import memory_registry
from vlmad_serve.server import bind, make_server
from vlmad_serve.services import Services
from vlmad_serve.settings import ServerSettings

RECIPE = {"backbone": "tiny", "extractor": {"use": "patches", "config": {"space": "raw"}}, "scorers": ["memory"]}


def main() -> None:
    registry = memory_registry()
    Registry.discover = classmethod(lambda cls, env=None: registry)
    settings = ServerSettings(data=Path(sys.argv[1]), recipe=RECIPE, device="cpu", port=0)
    sock = bind(settings)
    server = make_server(Services(settings))
    print(f"http://127.0.0.1:{sock.getsockname()[1]}", flush=True)
    server.run(sockets=[sock])


if __name__ == "__main__":  # pytest imports every file in search of doctests
    main()
