"""Entries whose classes cannot be imported when they are used."""

from vlmad_core.registry import Component, hookimpl


@hookimpl
def vlmad_extractors():
    yield Component(name="no-module", target="a_package_that_nobody_has.look:Look", summary="For tests.")
    yield Component(name="no-class", target="vlmad_core.builtin.patches:Nobody", summary="For tests.")
    yield Component(name="exits-later", target="vlmad_late_target_exits:Look", summary="For tests.")
