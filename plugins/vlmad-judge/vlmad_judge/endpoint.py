"""A second opinion from a multimodal language model: ask, read, compare with the map."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from vlmad_core.errors import ConfigError, ImageError
from vlmad_core.run.opinion import Case, Opinion, SecondOpinion
from vlmad_judge.answer import Answer, Failure, read_object, read_reply
from vlmad_judge.cache import key_of, read_answer, store_answer
from vlmad_judge.client import Client, Unreachable, is_loopback
from vlmad_judge.evidence import Evidence, evidence_of, sentence_of
from vlmad_judge.guard import contradiction
from vlmad_judge.plugin import OpenAICompatibleConfig
from vlmad_judge.question import description_request, request_of

__all__ = ["OpenAICompatible"]


class OpenAICompatible(SecondOpinion):
    """Ollama, llama.cpp, vLLM or a host, by ``POST BASE_URL/chat/completions``.

    Args:
        config: Where and how.
        sleep: Waits between retries; replaced in tests.

    Raises:
        ConfigError: The key is missing, or would travel unencrypted.
    """

    def __init__(self, config: OpenAICompatibleConfig, sleep: Callable[[float], None] = time.sleep) -> None:
        self.config = config
        self.asks_all = config.asks_all
        self._client = Client(config, sleep)
        self._failures = 0

    @property
    def notice(self) -> str:
        """What leaves this machine, and where it goes."""
        config = self.config
        which = "each image" if self.asks_all else "each image that does not pass"
        place = "this machine" if is_loopback(config.base_url) else "ANOTHER MACHINE"
        normal = ", one normal image" if config.sends_reference else ""
        key = f", and the key in {config.api_key_env}" if config.api_key_env else ""
        return (
            f"second opinion: of {which} is sent to {config.base_url} ({place}), model {config.model}: the image at up "
            f"to {config.image_side} pixels, the crop of its region{normal}, the class name, and the detector's score, "
            f"threshold and place{key}. No file name is sent."
        )

    def settings(self) -> Mapping[str, Any]:
        """Everything but the cache, the key and how the endpoint is waited for."""
        without = {"cache", "timeout", "retries", "parallel", "give_up_after", "api_key_env"}
        plain: dict[str, Any] = self.config.model_dump(mode="json", exclude=without)
        return {"use": "openai-compatible", **plain}

    def describe(self, images: Sequence[Path], question: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a question about a few images by a JSON schema.

        Raises:
            ConfigError: No answer, or none that is a JSON object.
        """
        body = description_request(images, question, schema, self.config)
        try:
            reply = self._client.post(body)
        except Unreachable as error:
            raise ConfigError(f"{self.config.base_url}: no answer ({error}).") from error
        found = read_object(reply)
        if isinstance(found, Failure):
            raise ConfigError(f"{self.config.base_url}: the answer is {found.outcome}: {found.detail}.")
        return found

    def ask(self, cases: Sequence[Case]) -> list[Opinion]:
        """An opinion on each case; see :class:`vlmad_core.run.opinion.Opinion`."""
        if self.config.parallel == 1 or len(cases) == 1:
            return [self._one(case) for case in cases]
        with ThreadPoolExecutor(self.config.parallel, thread_name_prefix="vlmad-judge") as pool:
            return list(pool.map(self._one, cases))

    def _one(self, case: Case) -> Opinion:
        if self._failures >= self.config.give_up_after:
            return Opinion("unreachable", detail=f"not asked: {self._failures} images in a row had no reply")
        started = time.perf_counter()
        evidence = evidence_of(case)
        try:
            body = request_of(case, evidence, self.config)
        except ImageError as error:
            return Opinion("unreachable", detail=f"not asked: {error}")
        key = key_of(self.config.base_url, body)
        reply = read_answer(self.config.cache, key)
        cached = reply is not None
        if reply is None:
            try:
                reply = self._client.post(body)
            except Unreachable as error:
                self._failures += 1
                return Opinion("unreachable", detail=str(error), milliseconds=_since(started))
        self._failures = 0
        answer = read_reply(reply)
        if isinstance(answer, Answer) and not cached:
            store_answer(self.config.cache, key, reply)
        return _opinion(answer, evidence, _since(started), cached)


def _opinion(answer: Answer | Failure, evidence: Evidence, milliseconds: float, cached: bool) -> Opinion:
    if isinstance(answer, Failure):
        return Opinion(
            answer.outcome, detail=answer.detail, milliseconds=milliseconds, tokens=answer.tokens, cached=cached
        )
    conflict = contradiction(answer, evidence)
    if not answer.why and not conflict:
        conflict = "it gives no sentence"
    return Opinion(
        "defect" if answer.defect else "no defect",
        sentence=sentence_of(evidence) if conflict else answer.why,
        where=evidence.places[0] if conflict and answer.defect else answer.where,
        kind=answer.kind,
        p_defect=answer.p_defect,
        from_map=bool(conflict),
        detail=f"the answered sentence was replaced: {conflict}" if conflict else "",
        milliseconds=milliseconds,
        tokens=answer.tokens,
        cached=cached,
    )


def _since(started: float) -> float:
    return round(1000 * (time.perf_counter() - started), 1)
