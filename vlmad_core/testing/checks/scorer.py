"""Rules of a scorer: higher is more anomalous; text where it uses it, a memory where it keeps one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vlmad_core.contracts.data import Features, Scores, TextEmbeddings
from vlmad_core.contracts.ops import l2_normalize
from vlmad_core.contracts.parts import WHOLE_IMAGE
from vlmad_core.errors import NotFittedError, VlmadError
from vlmad_core.testing.cases import tensors
from vlmad_core.testing.rules import CheckFailed, check, close, require

if TYPE_CHECKING:
    from vlmad_core.testing.cases import ScorerCase


@check("scorer")
def scores_as_declared(case: ScorerCase) -> None:
    """``forward`` gives Scores: image ``[B]``, map ``[B, H, W]`` at the size asked for, and maps of known levels."""
    scores = _judge(case, case.features((0, 1, 2)))
    require(isinstance(scores, Scores), f"forward gives {type(scores).__name__}; it must give Scores.")
    height, width = case.size
    found = {"image": (scores.image, (3,)), "map": (scores.anomaly_map, (3, height, width))}
    found |= {f"levels['{name}']": (value, (3, height, width)) for name, value in scores.levels.items()}
    for name, (value, shape) in found.items():
        actual = f"{value.dtype} {tuple(value.shape)}"
        fits = tuple(value.shape) == shape and value.is_floating_point()
        require(fits, f"{name} is {actual}; it must be float {shape}: use vlmad_core.resize(values, size).")
    known = {spec.name for spec in case.specs}
    strange = ", ".join(scores.levels.keys() - known)
    require(not strange, f"levels has maps of {strange}, which are no levels; name each map as its level.")


@check("scorer", needs="text scores")
def accepts_several_states(case: ScorerCase) -> None:
    """With several kinds of defect it gives finite scores, whichever place the normal state has."""
    features, words = case.features((0, 1, 2)), case.text_embeddings(3, states=4)
    turned = TextEmbeddings(words.vectors.flip(1), words.abnormal.flip(0))
    with torch.no_grad():
        one, other = (case.part(features, text_embeddings, case.size) for text_embeddings in (words, turned))
    fits = one.anomaly_map.shape == (3, *case.size) and bool(one.anomaly_map.isfinite().all())
    require(fits, "four states, three of them abnormal, do not give a map; sum over text_embeddings.abnormal.")
    require(
        close(one.anomaly_map, other.anomaly_map),
        "the scores change when the states come in another order; ask text_embeddings.abnormal, take no index.",
    )


@check("scorer")
def leaves_its_input_alone(case: ScorerCase) -> None:
    """Features and text embeddings are not written to."""
    features = case.features((0, 1, 2))
    before = {name: value.clone() for name, value in tensors(features).items()}
    _judge(case, features)
    if case.part.needs_fit:
        with torch.no_grad():
            case.part.fit(features)
    spoilt = [name for name, value in tensors(features).items() if not torch.equal(value, before[name])]
    require(not spoilt, f"it writes to the features it is given ({', '.join(spoilt)}); compute into new tensors.")


@check("scorer", needs="text scores")
def abnormal_scores_above_normal(case: ScorerCase) -> None:
    """An image equal to the abnormal text embedding scores above one equal to the normal one, in score and map."""
    part = case.make(case.backbone).eval()
    normal, abnormal = case.text_embeddings(1).vectors[0]
    visual = _direction(32, 1)
    if part.needs_fit:
        with torch.no_grad():
            part.fit(case.alike(normal[None], visual))
    with torch.no_grad():
        scores = case.score(part, case.alike(torch.stack([normal, abnormal]), visual.expand(2, -1)))
    _require_above(
        scores, "the abnormal text embedding", "the normal text embedding", "sum the probability of abnormal states"
    )


@check("scorer", needs="text scores")
def refuses_to_run_without_text(case: ScorerCase) -> None:
    """Given no text embeddings it refuses in a sentence."""
    try:
        with torch.no_grad():
            case.part(case.features((0,)), None, case.size)
    except VlmadError as error:
        require(str(error).endswith("."), f"it refuses with '{error}'; make it a sentence that says what to do.")
        return
    except Exception as error:
        raise CheckFailed(
            f"without text embeddings it stops with {type(error).__name__}: {error}; raise IncompatibleError instead."
        ) from error
    raise CheckFailed("without text embeddings it gives scores; set needs_text = False, or raise IncompatibleError.")


@check("scorer")
def contributions_add_up_to_the_score(case: ScorerCase) -> None:
    """Where it offers region values: they give the same scores, and each times its derivative adds up to the score."""
    features = case.features((0, 1, 2))
    words = case.text_embeddings(3) if case.part.needs_text else None
    with torch.no_grad():
        values = case.part.region_values(features, words, case.size)
        if values is None:
            return
        plain: Scores = case.part(features, words, case.size)
    with torch.enable_grad():
        leaves = {name: value.detach().requires_grad_() for name, value in values.items()}
        scores = case.part.combine_regions(leaves, features, case.size)
    same = torch.equal(scores.image, plain.image) and torch.equal(scores.anomaly_map, plain.anomaly_map)
    require(same, "combine_regions(region_values(...)) differs from forward; let forward be made of the two.")
    targets = {"score": scores.image, "highest value of the map": scores.anomaly_map.flatten(1).amax(1)}
    for name, target in targets.items():
        found = torch.autograd.grad(
            target.sum(), list(leaves.values()), retain_graph=True, allow_unused=True, materialize_grads=True
        )
        total = sum((one * leaf).sum(1) for one, leaf in zip(found, leaves.values(), strict=True))
        require(
            close(torch.as_tensor(total), target, tolerance=1e-5),
            f"region values times their derivatives do not add up to the {name}; combine_regions must be twice as high "
            "for values twice as high (means, sums, maxima, harmonic means), or offer no region values.",
        )
    _require_text_weights(case, features, words)


def _require_text_weights(case: ScorerCase, features: Features, words: TextEmbeddings | None) -> None:
    """Where it divides values over text: base and weighted cosines give the sum of value times gradient."""
    for states in (2, 4) if words is not None else ():
        texts = case.text_embeddings(3, states=states)
        with torch.no_grad():
            values = dict(case.part.region_values(features, texts, case.size))
            gradients = {name: torch.full_like(value, 0.01) for name, value in values.items()}
            weights = case.part.text_weights(features, texts, case.size, gradients)
        for name in values if weights is not None else ():
            vectors = features.image[:, None] if name == WHOLE_IMAGE else features[name].vectors  # type: ignore[index]
            cosines = torch.einsum("bmd,bsd->bms", l2_normalize(vectors), texts.vectors)
            total = weights.base[name] + (weights.cosines[name] * cosines).sum((1, 2))
            require(
                close(total, 0.01 * values[name].sum(1), tolerance=1e-5),
                f"text_weights of '{name}' with {states} states do not add up to the sum of value times gradient.",
            )
            balanced = bool((weights.cosines[name].sum(-1).abs() < 1e-4).all())
            require(balanced, f"text_weights of '{name}' do not add up to 0 over the states.")


@check("scorer", needs="memory")
def fitted_images_score_lowest(case: ScorerCase) -> None:
    """An image like the fitted one scores below any other, in score and map."""
    part = _empty(case)
    same, others = _directions(case, 1), _directions(case, 2, 3, 4)
    with torch.no_grad():
        part.fit(case.alike(*same))
        both = (torch.cat([one, other]) for one, other in zip(same, others, strict=True))
        scores = case.score(part, case.alike(*both))
    for other in (1, 2, 3):
        pair = Scores(scores.image[[0, other]], scores.anomaly_map[[0, other]])
        _require_above(pair, "another image", "the fitted one", "let distance be the score")


@check("scorer", needs="memory")
def raises_before_it_is_fitted(case: ScorerCase) -> None:
    """Before ``fit`` it raises NotFittedError that names the call to make, and ``is_fitted`` says so."""
    part = _empty(case)
    require(not part.is_fitted, "is_fitted is True before fit; let it say whether anything was fitted.")
    try:
        with torch.no_grad():
            case.score(part, case.features((0,)))
    except NotFittedError as error:
        require("fit(" in str(error), f"it says '{error}'; name the call to make: detector.fit(...).")
    except Exception as error:
        raise CheckFailed(
            f"before fit it stops with {type(error).__name__}: {error}; raise NotFittedError if not self.is_fitted."
        ) from error
    else:
        raise CheckFailed("before fit it gives scores; raise NotFittedError('... call detector.fit(...) first.').")
    require(case.part.is_fitted, "is_fitted is False after fit; let it say whether anything was fitted.")


@check("scorer", needs="memory")
def fit_accumulates(case: ScorerCase) -> None:
    """``fit`` is called once a batch and accumulates: what came first is not lost."""
    first, second = _directions(case, 1), _directions(case, 2)
    both, last = _empty(case), _empty(case)
    with torch.no_grad():
        both.fit(case.alike(*first))
        both.fit(case.alike(*second))
        last.fit(case.alike(*second))
        probe = case.alike(*first)
        kept, lost = (float(case.score(part, probe).image[0]) for part in (both, last))
    require(kept < lost - 1e-6, "after a second fit the first images are forgotten; add to what is there.")


@check("scorer", needs="memory")
def forget_empties_the_memory(case: ScorerCase) -> None:
    """After ``forget`` the memory is empty, and ``fit`` begins anew."""
    part, fresh = _empty(case), _empty(case)
    first, second = _directions(case, 1), _directions(case, 2)
    with torch.no_grad():
        part.fit(case.alike(*first))
        part.forget()
        require(not part.is_fitted, "is_fitted is True after forget; empty the buffers there.")
        part.fit(case.alike(*second))
        fresh.fit(case.alike(*second))
        one, other = (case.score(p, case.alike(*first)).image for p in (part, fresh))
    require(torch.allclose(one, other), "what was fitted before forget still counts; empty every buffer there.")


@check("scorer", needs="memory")
def memory_allows_gradients(case: ScorerCase) -> None:
    """A memory keeps no graph, and gradients pass by it to the features, for extractors that learn."""
    part = _empty(case)
    seen = case.features((7, 8))
    for value in tensors(seen).values():
        value.requires_grad_()
    with torch.enable_grad():
        part.fit(seen)
    holds = [name for name, value in _buffers(part) if value.requires_grad]
    require(not holds, f"{', '.join(holds)} keeps the graph of what it was fitted on; detach in fit.")
    features = case.features((0, 1, 2))
    leaves = [value.requires_grad_() for value in tensors(features).values()]
    try:
        with torch.enable_grad():
            case.score(part, features).anomaly_map.sum().backward()
    except RuntimeError as error:
        raise CheckFailed(f"it cannot be differentiated: {error} Use no inference_mode in fit or forward.") from error
    reached = any(leaf.grad is not None and bool(leaf.grad.any()) for leaf in leaves)
    require(reached, "no gradient reaches the features; remove detach, no_grad and rounding from forward.")


def _empty(case: ScorerCase) -> Any:
    return case.make(case.backbone).eval()


def _buffers(part: Any) -> list[tuple[str, Tensor]]:
    return [*part.named_buffers(), *((n, v) for n, v in vars(part).items() if isinstance(v, Tensor))]


def _judge(case: ScorerCase, features: Features) -> Scores:
    with torch.no_grad():
        scores: Scores = case.score(case.part, features)
    return scores


def _direction(dim: int, seed: int) -> Tensor:
    return l2_normalize(torch.randn(1, dim, generator=torch.Generator().manual_seed(seed)))


def _directions(case: ScorerCase, *seeds: int) -> tuple[Tensor, Tensor]:
    """A unit vector a seed, in the joint space and in the visual one; the normal text embedding for seed 1."""
    joint = torch.cat([case.text_embeddings(1).vectors[0, :1] if seed == 1 else _direction(16, seed) for seed in seeds])
    return joint, torch.cat([_direction(32, seed) for seed in seeds])


def _require_above(scores: Scores, high: str, low: str, remedy: str) -> None:
    """The second image above the first one."""
    for name, value in (("score", scores.image), ("map", scores.anomaly_map.flatten(1).mean(1))):
        below, above = (float(v) for v in value)
        require(
            above > below,
            f"{high} has {name} {above:.4g} and {low} {below:.4g}; higher must be more anomalous: {remedy}.",
        )
