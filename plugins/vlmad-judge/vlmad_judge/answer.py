"""From the reply of an endpoint, however strange, to an answer or an outcome of its own. Nothing here raises."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vlmad_judge.evidence import PLACES

__all__ = ["Answer", "Failure", "clean", "read_object", "read_reply"]

_LONGEST = 300
_REFUSALS = re.compile(
    r"\b(i can(?:no|')t|i cannot|i am unable|i'm unable|i am not able|i won't|i will not|as an ai|"
    r"cannot (?:assist|help|comply)|can't (?:assist|help|comply)|i'm sorry|i am sorry)\b",
    re.IGNORECASE,
)
_ALSO_CALLED = {"center": "centre", "middle": "centre", "upper": "top", "lower": "bottom", "none": "nowhere"}


@dataclass(frozen=True)
class Answer:
    """What was answered.

    Args:
        defect: The vote.
        where: One of the nine places, or ``nowhere``; empty where the answer names none that is known.
        kind: Of defect.
        why: One sentence.
        p_defect: From the log-probabilities of the vote; None without them.
        tokens: That the endpoint counted.
    """

    defect: bool
    where: str
    kind: str
    why: str
    p_defect: float | None
    tokens: int | None


@dataclass(frozen=True)
class Failure:
    """Why there is no answer: ``unparsable`` or ``refused``."""

    outcome: Literal["unparsable", "refused"]
    detail: str
    tokens: int | None = None


def read_reply(body: bytes) -> Answer | Failure:
    """Take a reply of ``/chat/completions`` apart.

    Args:
        body: As it came.
    """
    message = _message(body)
    if isinstance(message, Failure):
        return message
    text, first, tokens = message
    found = _object(text, "defect")
    if found is None:
        return _no_object(text, first, tokens)
    defect = found.get("defect")
    if not isinstance(defect, bool):
        return Failure("unparsable", f"'defect' is neither true nor false: {clean(defect)}", tokens)
    probability = _p_defect(first.get("logprobs"), defect)
    return Answer(
        defect, _place(found.get("where")), clean(found.get("kind"), 60), clean(found.get("why")), probability, tokens
    )


def read_object(body: bytes) -> Mapping[str, Any] | Failure:
    """The JSON object in a reply of ``/chat/completions``, whatever its fields are."""
    message = _message(body)
    if isinstance(message, Failure):
        return message
    text, first, tokens = message
    found = _object(text, None)
    return found if found is not None else _no_object(text, first, tokens)


def _message(body: bytes) -> tuple[str, Mapping[str, Any], int | None] | Failure:
    """The text of a reply, its choice, and its tokens."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return Failure("unparsable", "the reply is not JSON")
    if not isinstance(reply, Mapping):
        return Failure("unparsable", "the reply is not a JSON object")
    tokens = _tokens(reply)
    choices = reply.get("choices")
    first = choices[0] if isinstance(choices, Sequence) and not isinstance(choices, str) and choices else None
    message = first.get("message") if isinstance(first, Mapping) else None
    if not isinstance(first, Mapping) or not isinstance(message, Mapping):
        return Failure("unparsable", "the reply has no message", tokens)
    if message.get("refusal") or first.get("finish_reason") == "content_filter":
        return Failure("refused", clean(message.get("refusal") or "the endpoint's content filter"), tokens)
    return _text(message.get("content")), first, tokens


def _no_object(text: str, first: Mapping[str, Any], tokens: int | None) -> Failure:
    if _REFUSALS.search(text[:2000]):
        return Failure("refused", clean(text), tokens)
    cut = " (it was cut at max_tokens)" if first.get("finish_reason") == "length" else ""
    return Failure("unparsable", f"the answer is no such JSON object{cut}: {clean(text) or 'empty'}", tokens)


def clean(value: Any, longest: int = _LONGEST) -> str:
    """Any value as one line of text without control characters, direction marks or markup, cut to a length."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else repr(value)[: 4 * longest]
    text = text[: 8 * longest]
    kept = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text)
    kept = re.sub(r"<[^<>]{0,200}>", " ", kept).replace("<", " ").replace(">", " ")
    kept = " ".join(kept.split())
    return kept if len(kept) <= longest else f"{kept[: longest - 1]}…"


def _text(content: Any) -> str:
    """The text of a message: a string, or a list of parts with text."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return " ".join(part for part in parts if isinstance(part, str))
    return ""


def _object(text: str, field: str | None) -> Mapping[str, Any] | None:
    """The JSON object with a field in a text, perhaps in a fence or after thoughts; None for none or two values."""
    text = re.sub(r"<think>.*?</think>", " ", text[:100_000], flags=re.DOTALL)
    decoder, place, found = json.JSONDecoder(), 0, list[Mapping[str, Any]]()
    for _ in range(50):
        place = text.find("{", place)
        if place < 0:
            break
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place += 1
            continue
        if isinstance(value, Mapping) and (field is None or field in value):
            found.append(value)
    if field is not None and len({json.dumps(one.get(field), default=repr) for one in found}) > 1:
        return None
    return found[-1] if found else None


def _place(value: Any) -> str:
    """One of the places, whatever its spelling."""
    if not isinstance(value, str):
        return ""
    words = [_ALSO_CALLED.get(word, word) for word in re.findall(r"[a-z]+", value.lower()[:100])]
    for place in sorted((*PLACES, "nowhere"), key=len, reverse=True):
        if all(word in words for word in place.split()):
            return place
    return ""


def _tokens(reply: Mapping[str, Any]) -> int | None:
    usage = reply.get("usage")
    total = usage.get("total_tokens") if isinstance(usage, Mapping) else None
    return total if isinstance(total, int) and not isinstance(total, bool) and 0 <= total < 10**9 else None


def _p_defect(logprobs: Any, defect: bool) -> float | None:
    """P(true) / (P(true) + P(false)) at the token of the vote; None where it is not found or contradicts the vote."""
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not isinstance(content, Sequence) or isinstance(content, str):
        return None
    before = ""
    for item in content[:2000]:
        if not isinstance(item, Mapping) or not isinstance(item.get("token"), str):
            return None
        token = item["token"]
        if re.search(r'"defect"\s*:\s*"?$', before) and token.strip(' "').lower() in ("true", "false"):
            both = {"true": 0.0, "false": 0.0}
            alternatives = item.get("top_logprobs")
            others = alternatives if isinstance(alternatives, Sequence) and not isinstance(alternatives, str) else []
            for one in others or [item]:
                word = one.get("token") if isinstance(one, Mapping) else None
                value = one.get("logprob") if isinstance(one, Mapping) else None
                name = word.strip(' "').lower() if isinstance(word, str) else ""
                if name in both and isinstance(value, int | float) and math.isfinite(value) and value <= 1e-6:
                    both[name] += math.exp(value)
            total = both["true"] + both["false"]
            if total <= 0:
                return None
            p = both["true"] / total
            return p if (p >= 0.5) is defect or p == 0.5 else None
        before += token
    return None
