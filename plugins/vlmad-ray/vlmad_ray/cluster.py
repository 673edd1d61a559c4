"""Join a Ray cluster, or start one on this machine."""

from __future__ import annotations

import logging
import os
from typing import Any

from vlmad_core.errors import VlmadError

__all__ = ["join_cluster"]

_STARTS = 3


def join_cluster(address: str | None, cpus: int) -> None:
    """Join the cluster that is named, or by ``RAY_ADDRESS``; else start one on this machine, offered to no network.

    Args:
        address: Of the cluster.
        cpus: That one on this machine says it has.

    Raises:
        VlmadError: It cannot be reached, or did not start in three attempts.
    """
    import ray

    address = address or os.environ.get("RAY_ADDRESS")
    if not address:
        _stay_on_this_machine()
    own: dict[str, Any] = {"num_cpus": cpus, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    given: dict[str, Any] = {"address": address} if address else {"address": "local", **own}
    for attempt in range(_STARTS):
        try:
            ray.init(**given, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray raises classes of its own and plain ones
            ray.shutdown()
            # Ray gives its processes 30 seconds, which is short on a busy machine.
            if "timed out during startup" in str(error) and attempt + 1 < _STARTS:
                continue
            reason = " ".join(str(error).split())
            raise VlmadError(f"Ray could not be started or reached ({reason}). Nothing was done; try again.") from error
        return


def _stay_on_this_machine() -> None:
    """Make Ray's servers listen on the loopback address alone.

    Ray replaces the address 127.0.0.1 by the one that others reach, except where it supports no cluster; this is the
    switch for that, for the processes that it starts and for this one, in which Ray is imported already.
    """
    from ray._private import ray_constants

    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
