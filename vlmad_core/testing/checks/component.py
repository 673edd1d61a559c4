"""Rules of every entry with options and a target: options that can be shown, and a target that builds."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from vlmad_core.contracts.parts import Extractor, Prompts, Scorer
from vlmad_core.contracts.towers import Backbone
from vlmad_core.datasets.base import DatasetReader
from vlmad_core.errors import IncompatibleError, VlmadError
from vlmad_core.registry.component import KINDS
from vlmad_core.testing.rules import CheckFailed, CheckSkipped, check, require
from vlmad_core.testing.tiny import tiny_backbone

if TYPE_CHECKING:
    from vlmad_core.testing.cases import BackboneCase, Case, DatasetCase, PartCase

ALL = (*KINDS, "dataset")
BASES = {"backbone": Backbone, "extractor": Extractor, "prompts": Prompts, "scorer": Scorer, "dataset": DatasetReader}


@check(*ALL)
def describes_every_option(case: Case) -> None:
    """Each option has a description, which `vlmad show` prints."""
    bare = [path for path, field in _fields(case.entry.component.config) if not field.description]
    require(not bare, f"no description: {', '.join(bare)}; write Field(default, description='...') in plugin.py.")


@check(*ALL)
def options_are_strict(case: Case) -> None:
    """A misspelt option is refused, and options cannot be changed after they were checked."""
    settings = case.entry.component.config.model_config
    for name, wanted in (("extra", "forbid"), ("frozen", True)):
        require(
            settings.get(name) == wanted,
            f"model_config has {name}={settings.get(name)!r}; leave {name}={wanted!r} as Config has it.",
        )


@check(*ALL)
def options_can_be_saved(case: Case) -> None:
    """The options make a JSON schema, and the defaults come back from JSON as they were."""
    config = case.entry.component.config
    try:
        json.dumps(config.model_json_schema())
        if not any(field.is_required() for field in config.model_fields.values()):
            defaults = config()
            same = config.model_validate(json.loads(defaults.model_dump_json())) == defaults
            require(same, "the defaults do not come back from JSON; take plain types: numbers, strings, tuples.")
    except CheckFailed:
        raise
    except Exception as error:
        raise CheckFailed(
            f"its options cannot be written as JSON ({error}); take plain types: numbers, strings, tuples, Literal."
        ) from error


@check(*ALL)
def target_is_found(case: Case) -> None:
    """The target can be imported and called; a class is one of the base class of its kind."""
    try:
        target = case.target
    except VlmadError as error:
        raise CheckFailed(f"{error}; correct `target`, or the file that it names.".replace(".;", ";")) from error
    base = BASES[case.entry.kind]
    where = case.entry.component.target
    require(callable(target), f"{where} cannot be called; it must be a class or a function.")
    fits = not isinstance(target, type) or issubclass(target, base)
    require(fits, f"{where} is no {base.__name__}; derive it: class {where.partition(':')[2]}({base.__name__}).")


@check("extractor", "prompts", "scorer")
def builds_with_its_defaults(case: PartCase) -> None:
    """Without options it can be built on a tiny backbone, and is what its kind asks for."""
    part = _make(case, lambda: case.make(case.backbone))
    base = BASES[case.entry.kind]
    require(isinstance(part, base), f"its target made a {type(part).__name__}; it must make a {base.__name__}.")


@check("backbone", "dataset")
def builds_or_names_what_it_needs(case: BackboneCase | DatasetCase) -> None:
    """It is built with its options, or refused in a sentence that says which one is missing."""
    made = _make(case, lambda: case.target(case.config), allowed=VlmadError)
    base = BASES[case.entry.kind]
    fits = made is None or isinstance(made, base)
    require(fits, f"its target made a {type(made).__name__}; it must make a {base.__name__}.")


@check("extractor", "prompts", "scorer")
def fits_or_refuses(case: PartCase) -> None:
    """Without text, without a class token, or oblong with registers, it is built or refused in a sentence."""
    variants: tuple[dict[str, Any], ...] = (
        {"text": False},
        {"registers": 2, "image_size": (24, 40)},
        {"class_pool": False},
    )
    case.ready(case.backbone)
    for variant in variants:
        _make(
            case, lambda options=variant: case.make(tiny_backbone(**case.options | options)), allowed=IncompatibleError
        )


@check("extractor", "prompts", "scorer")
def is_quiet(case: PartCase) -> None:
    """Being built and run, it prints nothing and warns of nothing."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings(record=True) as w:
        warnings.simplefilter("always")
        case.run(case.part)
    require(not said.getvalue(), f"it prints {said.getvalue()[:100]!r}; remove that, `vlmad ... --json` would break.")
    require(
        not w, f"it warns: {w[0].message if w else ''}; remove the cause, as warnings are errors in many test suites."
    )


def _make(case: Case, make: Any, *, allowed: type[VlmadError] | None = None) -> Any:
    """What ``make`` gives; None where it refused with an allowed error, in a sentence."""
    try:
        return make()
    except CheckSkipped:
        raise
    except Exception as error:
        if allowed is None or not isinstance(error, allowed):
            wanted = (allowed or IncompatibleError).__name__
            raise CheckFailed(
                f"building it stopped with {type(error).__name__}: {error} Make it work with its defaults, "
                f"or refuse what cannot fit with {wanted} and a sentence."
            ) from error
        text = str(error)
        require(
            text.endswith(".") and len(text.split()) > 5,
            f"it refuses with '{text}'; say in a whole sentence, with a full stop, what is wrong and what would work.",
        )
        return None


def _fields(config: type[BaseModel], before: str = "") -> Iterator[tuple[str, Any]]:
    """Each option with its dotted path, also those of options that are models themselves."""
    for name, field in config.model_fields.items():
        yield before + name, field
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _fields(kind, f"{before}{name}.")
