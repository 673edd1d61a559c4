"""``vlmad serve``: detectors over HTTP, with a page."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from vlmad_core.cli import options, terminal
from vlmad_core.errors import ConfigError

__all__ = ["serve_command"]

_LIMITS, _ACCESS = "Limits", "Access"


def serve_command(
    detectors: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders that vlmad fit wrote; those of the data folder are served anyway."),
    ] = None,
    data: Annotated[
        Path, typer.Option("--data", "-d", file_okay=False, help="The one folder that the server writes to.")
    ] = Path("vlmad-data"),
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for other machines.", rich_help_panel=_ACCESS)
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.", rich_help_panel=_ACCESS)] = 8000,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file",
            dir_okay=False,
            help="File with the key that clients must send; or the variable VLMAD_API_KEY.",
            rich_help_panel=_ACCESS,
        ),
    ] = None,
    no_api_key: Annotated[
        bool,
        typer.Option(
            "--no-api-key", help="Let every machine in the network change everything.", rich_help_panel=_ACCESS
        ),
    ] = False,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Web pages of this origin may use the API; none may by default.", rich_help_panel=_ACCESS),
    ] = None,
    recipe: Annotated[str | None, typer.Option("--recipe", "-r", help="Of products that are enrolled.")] = None,
    device: Annotated[str, typer.Option(help="Where detectors run.")] = "auto",
    batch_size: options.BatchSize = 8,
    workers: options.Workers = 2,
    threads: options.Threads = None,
    queue: Annotated[
        int, typer.Option(min=1, help="Images that may wait; more are refused with 429.", rich_help_panel=_LIMITS)
    ] = 64,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds for the answer to an image.", rich_help_panel=_LIMITS)
    ] = 60,
    body_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds for a client to send a request.", rich_help_panel=_LIMITS)
    ] = 30,
    max_megabytes: Annotated[float, typer.Option(min=0.01, help="Of one image file.", rich_help_panel=_LIMITS)] = 32,
    max_megapixels: Annotated[
        float, typer.Option(min=0.01, max=178, help="Of one image.", rich_help_panel=_LIMITS)
    ] = 50,
    keep_gigabytes: Annotated[
        float,
        typer.Option(
            min=0.01,
            help="Of images and maps; the oldest without feedback are deleted beyond.",
            rich_help_panel=_LIMITS,
        ),
    ] = 20,
    quiet: options.Quiet = False,
) -> None:
    """Serve detectors over HTTP, with a page to enrol products, inspect parts and set thresholds.

    Without a detector, open the page and enrol a product from ten photos. The server listens on this machine alone
    unless --host says otherwise. Ctrl-C or SIGTERM ends it after every accepted image has its answer.
    """
    key = _key(api_key_file)
    from vlmad_serve.settings import ServerSettings, is_loopback

    if key is None and not is_loopback(host) and not no_api_key:
        raise ConfigError(
            f"--host {host} opens the server to other machines, and there is no API key. Give --api-key-file or "
            "VLMAD_API_KEY, or --no-api-key if everyone in the network may change thresholds."
        )
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    from vlmad_serve.server import bind, make_server
    from vlmad_serve.services import Services

    tell = (lambda text: None) if quiet else terminal.note
    settings = ServerSettings(
        data=data,
        host=host,
        port=port,
        api_key=key,
        allow_origins=tuple(allow_origin or ()),
        recipe=recipe,
        device=device,
        batch_size=batch_size,
        capacity=queue,
        workers=workers,
        timeout=timeout,
        body_timeout=body_timeout,
        max_bytes=int(max_megabytes * 1e6),
        max_pixels=int(max_megapixels * 1e6),
        max_request_bytes=max(256_000_000, int(max_megabytes * 1e6)),
        keep_bytes=int(keep_gigabytes * 1e9),
    )
    sock = bind(settings)
    services = Services(settings, detectors or (), tell)
    server = make_server(services)
    names = ", ".join(services.detectors.names()) or "none yet; enrol a product on the page"
    if not quiet:
        shown = f"[{host}]" if ":" in host else "127.0.0.1" if host == "0.0.0.0" else host
        sys.stdout.write(f"page       http://{shown}:{sock.getsockname()[1]}/\ndetectors  {names}\ndata       {data}\n")
        sys.stdout.flush()
    server.run(sockets=[sock])


def _key(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get("VLMAD_API_KEY") or None
    try:
        key = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the API key cannot be read ({error}).") from error
    if len(key) < 16 or not key.isascii():
        raise ConfigError(f"{path}: the API key must have 16 ASCII characters or more.")
    return key
