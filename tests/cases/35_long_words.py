"""Sentences that are longer than the text tower reads: what is cut off must be told."""

import warnings

import numpy as np
from common import end, expect, save, texture, vlmad

import vlmad_core

head = (
    "a close-up studio photograph taken from above by a line scan camera under diffuse white light of a sheet of grey recycled paper "
    "with a fibrous matte surface lying flat on a dark conveyor belt which after careful inspection turns out to be "
)
words = {"normal": [head + "flawless"], "abnormal": [head + "damaged by large dark stains"]}
spec = {
    "backbone": "pocket",
    "extractor": {"use": "patches", "config": {"layers": [-1], "space": "joint"}},
    "prompts": {"use": "templates", "config": words},
    "scorers": [{"use": "text-match"}],
}
text, found = "", None
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    try:
        found = vlmad_core.build(spec).predict(texture(3, defect=True)[0], class_name="sheet")
    except Exception as error:
        text = str(error)
text += " ".join(str(w.message) for w in said)
flat = found is not None and float(np.ptp(found.raw_map)) < 1e-6
expect(
    not flat or any(w in text for w in ("long", "cut", "pieces", "tokens")),
    f"two sentences that differ at the end: every cell scores {found.score if found else None}, and nothing is told",
)
for tail in ("nut", "cookie"):
    name = "very small round shiny galvanised hexagonal steel " * 6 + tail
    save(texture(3, defect=True)[0], "a.png")
    done = vlmad("predict", "a.png", "--class-name", name, "--json")
    expect(
        any(w in done.stderr for w in ("long", "cut", "pieces", "tokens")),
        f"a class name of 43 words that ends in '{tail}': told that it is cut",
    )

end()
