"""The score of a picture must not depend on its neighbours in the batch."""

from common import end, expect, texture

import vlmad_core

pictures = [texture(i, defect=i % 2 == 1)[0] for i in range(7)]
for recipe in ("pocket", "pocket-few-shot", "patch-memory", "subspace"):
    detector = vlmad_core.build(recipe) if recipe.startswith("pocket") else vlmad_core.build(recipe, backbone="pocket")
    if recipe != "pocket":
        detector.fit([texture(50 + i)[0] for i in range(3)], class_name="sheet")
    one, four = detector.predict(pictures, batch_size=1), detector.predict(pictures, batch_size=4)
    worst = max(abs(a.score - b.score) for a, b in zip(one, four, strict=False))
    expect(worst < 1e-5, f"{recipe}: scores differ by at most {worst:.1e}")

end()
