"""Rules that extractors, prompts and scorers share: a part holds nothing that is not its own, and spoils nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vlmad_core.testing.rules import CheckFailed, check, close, require
from vlmad_core.testing.state import differences, process_state, snapshot
from vlmad_core.testing.tiny import tiny_backbone

if TYPE_CHECKING:
    from vlmad_core.testing.cases import PartCase

PARTS = ("extractor", "prompts", "scorer")


@check(*PARTS)
def outputs_are_finite(case: PartCase) -> None:
    """Everything that it gives is finite."""
    with torch.no_grad():
        found = case.run(case.part)
    wrong = [name for name, value in found.items() if not value.isfinite().all()]
    require(not wrong, f"{', '.join(wrong)} has values that are not finite; look for division by zero.")


@check(*PARTS)
def is_deterministic(case: PartCase) -> None:
    """In eval mode, the same input gives the same output."""
    with torch.no_grad():
        one, other = case.run(case.part), case.run(case.part)
    changed = [name for name in one if not torch.equal(one[name], other[name])]
    require(not changed, f"{', '.join(changed)} differs when called again; draw no random numbers and keep no state.")


@check("extractor", "scorer")
def does_not_depend_on_its_batch(case: PartCase) -> None:
    """What it gives for an image is the same whichever images are beside it, in any order."""
    with torch.no_grad():
        whole = case.run(case.part)
        for rows in ((1,), (2, 0), (2, 1, 0)):
            some = case.run(case.part, rows)
            changed = [name for name in whole if not close(some[name], whole[name][list(rows)])]
            require(
                not changed,
                f"{', '.join(changed)} of an image depends on its neighbours in the batch; take no mean, maximum or "
                "sort over dimension 0.",
            )


@check("extractor", "prompts")
def leaves_the_backbone_alone(case: PartCase) -> None:
    """Built and run, it changes no weight, module, method, hook or mode of the backbone."""
    before = snapshot(case.backbone)
    part = case.ready(case.backbone)
    with torch.enable_grad():
        case.run(part)
    changed = differences(before, case.backbone)
    require(
        not changed,
        f"it changes the backbone: {', '.join(changed[:3])}; write your own loop over vision.blocks with qkv, attend "
        "and mlp, and compute into new tensors.",
    )


@check(*PARTS)
def holds_no_backbone(case: PartCase) -> None:
    """No attribute, module or parameter of it is the backbone's: it is handed the tower at each call."""
    theirs = {id(module) for module in case.backbone.modules()}
    shared = {p.data_ptr() for p in (*case.backbone.parameters(), *case.backbone.buffers()) if p.numel()}
    for where, value in _holdings(case.part):
        mine = id(value) not in theirs and not (isinstance(value, Tensor) and value.data_ptr() in shared)
        require(mine, f"{where} is the backbone's; read sizes from it in the constructor, and keep none of it.")


@check(*PARTS, needs="learns")
def every_parameter_learns(case: PartCase) -> None:
    """A gradient reaches each of its parameters."""
    part = _stirred(case.part)
    with torch.enable_grad():
        found = case.run(part)
        draws = torch.Generator().manual_seed(1)
        weighed = [(value * torch.randn(value.shape, generator=draws)).sum() for value in found.values()]
        loss = torch.stack(weighed).sum()
        require(loss.requires_grad, "nothing that it gives depends on its parameters; remove detach and no_grad.")
        loss.backward()
    idle = [name for name, p in part.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    require(not idle, f"no gradient reaches {', '.join(idle)}; use it in forward, or make it a buffer.")


@check(*PARTS)
def survives_a_round_trip(case: PartCase) -> None:
    """``state_dict`` holds all of it: loaded into a new part, it gives the same."""
    part = _stirred(case.part)
    state = part.state_dict()
    strange = [name for name, value in state.items() if not isinstance(value, Tensor)]
    require(not strange, f"{', '.join(strange)} in state_dict is no tensor and cannot be saved; keep tensors alone.")
    other = case.make(case.backbone).eval()
    try:
        other.load_state_dict({name: value.clone() for name, value in state.items()})
    except RuntimeError as error:
        raise CheckFailed(
            f"a new part cannot load its state: {' '.join(str(error).split())} Register every tensor in the "
            "constructor; a memory of any length makes room in _load_from_state_dict."
        ) from error
    with torch.no_grad():
        one, two = case.run(part), case.run(other)
    lost = [name for name in one if name not in two or not close(one[name], two[name])]
    require(not lost, f"{', '.join(lost)} differs after saving and loading; keep what is learned or fitted in buffers.")


@check(*PARTS)
def runs_in_bfloat16(case: PartCase) -> None:
    """On a backbone in bfloat16 it runs, and gives finite values."""
    backbone = tiny_backbone(**case.options, dtype=torch.bfloat16)
    part = case.ready(backbone)
    try:
        with torch.no_grad():
            found = case.run(part, backbone=backbone)
    except RuntimeError as error:
        raise CheckFailed(f"in bfloat16 it stops: {error}; make new tensors with new_zeros, or .to(x).") from error
    wrong = [name for name, value in found.items() if not value.isfinite().all()]
    require(not wrong, f"in bfloat16 {', '.join(wrong)} has values that are not finite; compute that step in float32.")


@check(*PARTS)
def leaves_the_process_alone(case: PartCase) -> None:
    """Running, it changes no random state, no default of torch, no environment variable."""
    part = case.part
    before = process_state()
    with torch.no_grad():
        case.run(part)
    expected, after = {**before, "torch's gradient mode": before["torch's gradient mode"]}, process_state()
    changed = [name for name, value in after.items() if value != expected[name]]
    require(not changed, f"running, it changes {', '.join(changed)}; draw from a torch.Generator of your own.")


def _stirred(part: Any) -> Any:
    """With parameters moved a little, since one that begins at zero may hide others from the gradient."""
    draws = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=draws).to(parameter))
    return part


def _holdings(part: Any) -> Iterator[tuple[str, Any]]:
    """What a part keeps: attributes of it and its modules, also one level inside lists and mappings."""
    if not isinstance(part, nn.Module):
        raise CheckFailed(f"it is a {type(part).__name__}; derive it from the base class of its kind.")
    for path, module in part.named_modules():
        where = f"{path}." if path else ""
        yield path or "the part itself", module
        for name, value in vars(module).items():
            yield f"{where}{name}", value
            inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
            keys = list(value) if isinstance(value, dict) else range(len(list(inside)))
            for key, held in zip(keys, inside, strict=True):
                yield (f"{where}{key}" if name in _TORCH else f"{where}{name}[{key!r}]"), held


_TORCH = ("_parameters", "_buffers", "_modules")
