"""Write a bill of materials, CycloneDX 1.6 as JSON: ``python .ci/sbom.py --out sbom.json``, or ``make sbom``.

It holds what the named distributions need to run, as it is installed here, and the weights that they carry; not the
tools of tests, and no path of this machine. The same environment gives the same file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from distributions import CORE, closure, distributions, licence
from packaging.utils import canonicalize_name


def bill(wanted: Iterable[str]) -> dict[str, Any]:
    """The document.

    Args:
        wanted: Requirements, such as ``"vlmad-core[open-clip]"``.
    """
    found = closure(wanted)
    ours = {distribution.name: distribution for distribution in distributions()}
    weights = {name: list(_weights(name, ours[name].package)) for name in found if name in ours}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "name": "vlmad", "version": found[CORE].distribution.version}
        },
        "components": [
            *(_library(each.distribution) for each in found.values()),
            *(model for models in weights.values() for model in models),
        ],
        "dependencies": [
            {
                "ref": _purl(each.distribution),
                "dependsOn": sorted(
                    {_purl(found[canonicalize_name(need.name)].distribution) for need in each.needs}
                    | {model["bom-ref"] for model in weights.get(name, ())}
                ),
            }
            for name, each in found.items()
        ],
    }


def _library(distribution: metadata.Distribution) -> dict[str, Any]:
    about = distribution.metadata
    said = licence(distribution)
    return {
        "type": "library",
        "bom-ref": _purl(distribution),
        "name": about["Name"],
        "version": distribution.version,
        "description": about.get("Summary", ""),
        "licenses": [{"expression": said} if about.get("License-Expression") else {"license": {"name": said}}],
        "purl": _purl(distribution),
    }


def _weights(name: str, package: Path) -> Iterable[dict[str, Any]]:
    """Files of weights in a package; the notice about them lies in the same wheel."""
    for path in sorted(package.glob("*.safetensors")):
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"{name}/{path.name}",
            "name": about["name"],
            "description": about.get("source") or about.get("trained_on", ""),
            "hashes": [{"alg": "SHA-256", "content": digest}],
            "licenses": [{"license": {"name": about["licence"]}}],
        }


def _purl(distribution: metadata.Distribution) -> str:
    name = canonicalize_name(distribution.metadata["Name"])
    return f"pkg:pypi/{name}@{quote(distribution.version, safe='.')}"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "wanted", nargs="*", help="distributions, with extras; default: all of this repository, with none"
    )
    parser.add_argument("--out", type=Path, default=Path("sbom.json"))
    options = parser.parse_args()
    wanted = options.wanted or [distribution.name for distribution in distributions()]
    options.out.write_text(json.dumps(bill(wanted), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
