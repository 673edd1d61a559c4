"""What vlmad-judge offers: a second opinion from any OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field, field_validator

from vlmad_core.registry import Component, Config, hookimpl


class OpenAICompatibleConfig(Config):
    """Where to ask, and how. There is no default address: nothing is sent anywhere that is not named here."""

    base_url: str = Field(description="Such as http://localhost:11434/v1 (Ollama), or that of llama.cpp, vLLM, a host.")
    model: str = Field(min_length=1, description="As the endpoint calls it; one that takes images.")
    api_key_env: str = Field("", description="Environment variable that holds the key; empty: no key is sent.")
    asks_all: bool = Field(False, description="Also ask about images that pass.")
    reference: Path | None = Field(
        None, description="A normal image to send along; by default the first of --normal, if it is given."
    )
    sends_reference: bool = Field(True, description="Whether a normal image is sent along.")
    image_side: int = Field(768, ge=64, le=4096, description="Longer side of the images that are sent, in pixels.")
    max_tokens: int = Field(300, ge=32, le=8192, description="Of an answer.")
    logprobs: bool = Field(True, description="Ask for log-probabilities, for P(defect).")
    json_schema: bool = Field(True, description="Ask for an answer by a JSON schema; some endpoints know none.")
    timeout: float = Field(60.0, gt=0, le=3600, description="Seconds for one answer, from the request to its end.")
    retries: int = Field(2, ge=0, le=10, description="After a time-out, a 429 or a server error.")
    parallel: int = Field(1, ge=1, le=64, description="Requests at a time.")
    give_up_after: int = Field(3, ge=1, description="Unreachable images in a row, after which no more are asked.")
    cache: Path | None = Field(None, description="Folder of stored answers; by default none are stored.")

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")


@hookimpl
def vlmad_opinions() -> Iterable[Component]:
    """The endpoint."""
    yield Component(
        name="openai-compatible",
        target="vlmad_judge.endpoint:OpenAICompatible",
        config=OpenAICompatibleConfig,
        summary="A multimodal language model behind an OpenAI-compatible endpoint: Ollama, llama.cpp, vLLM, hosted.",
    )
