"""What the report leaves open, in sentences; silence would read as 'tested'."""

from __future__ import annotations

from collections import defaultdict

from vlmad_robustness.corruptions import SEVERITIES
from vlmad_robustness.run import Outcome, Run

__all__ = ["not_tested"]

_ALWAYS = (
    "Real changes of light, lens or camera: all conditions here are simulated from the test images, and one corruption "
    "is applied at a time.",
    "Rotation and shift move the whole image; a part that moves before a background that stays is not simulated.",
    "Attacks in front of the lens (stickers, projected light), attacks through the resize of larger files, attacks "
    "without gradients beyond random noise, and other norms than the maximum norm.",
    "Attacks on the verdict 'not this part' and on the anomaly map; the image score alone is attacked.",
    "Poisoned normal images: who can exchange what the detector is fitted on needs no adversarial image.",
)


def not_tested(outcome: Outcome, run: Run) -> list[str]:
    """Sentences: what this run cut first, then what no run covers."""
    plan, lines = outcome.plan, []
    total = len(run.source.tests)
    if plan.images < total:
        lines.append(f"{total - plan.images} of {total} test images: the time sufficed for {plan.images} a condition.")
    if cut := [severity for severity in SEVERITIES if severity not in plan.severities]:
        lines.append(f"Severities {', '.join(map(str, cut))}.")
    if plan.steps < 50 or plan.restarts < 5:
        lines.append(
            f"Stronger attacks: {plan.steps} steps and {plan.restarts} restart(s); 50 steps with 5 restarts are "
            "the usual minimum; --minutes, --steps and --restarts give more."
        )
    if not plan.transfer:
        lines.append("Transfer of adversarial images to other detectors: name some with --transfer RECIPE.")
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, reason in outcome.skipped.items():
        reasons[reason].append(name)
    for reason, names in reasons.items():
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        lines.append(f"{shown}: {reason}.")
    if not outcome.images.has_masks:
        lines.append("Pixel metrics: not every defective image has a mask.")
    return [*lines, *_ALWAYS]
