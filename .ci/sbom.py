"""Completes a bill of materials of ``cyclonedx-py`` with the weights in our wheels: ``make sbom``.

Reads CycloneDX JSON on stdin and writes it to stdout. ``cyclonedx-py`` knows what is installed; it does not know that
some wheels contain weights with a licence of their own. Paths of this machine are taken out.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from typing import Any

from distributions import distributions


def complete(bill: dict[str, Any]) -> dict[str, Any]:
    """The bill with a component for each file of weights, and without references to local files."""
    for component in [bill["metadata"].get("component", {}), *bill["components"]]:
        links = component.get("externalReferences", [])
        kept = [link for link in links if not link["url"].startswith("file:")]
        if links and not kept:
            del component["externalReferences"]
        elif links:
            component["externalReferences"] = kept
    installed = {component["name"] for component in bill["components"]}
    bill["components"] += [model for model in weights() if model["group"] in installed]
    return bill


def weights() -> Iterator[dict[str, Any]]:
    """A component for each file of weights; ``group`` is the distribution that contains it."""
    for distribution in distributions():
        for path in sorted(distribution.package.glob("*.safetensors")):
            card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            yield {
                "type": "machine-learning-model",
                "bom-ref": f"{distribution.name}/{path.name}",
                "group": distribution.name,
                "name": card["name"],
                "version": distribution.version,
                "description": card.get("source") or card.get("trained_on", ""),
                "hashes": [{"alg": "SHA-256", "content": digest}],
                "licenses": [{"license": {"name": card["licence"]}}],
            }


if __name__ == "__main__":
    json.dump(complete(json.load(sys.stdin)), sys.stdout, indent=2)
    sys.stdout.write("\n")
