"""A detector is copied, pickled, and asked from several threads."""

import copy
import pickle
import threading

import numpy as np
from common import end, expect, texture

import vlmad_core

pictures = [texture(i, defect=i % 2 == 1)[0] for i in range(4)]
detector = vlmad_core.build("pocket-few-shot").fit([texture(50 + i)[0] for i in range(3)], class_name="sheet")
wanted = [r.score for r in detector.predict(pictures)]


def same(d):
    return max(abs(a - b.score) for a, b in zip(wanted, d.predict(pictures), strict=False)) < 1e-6


expect(same(copy.deepcopy(detector)), "copied")
expect(same(pickle.loads(pickle.dumps(detector))), "pickled")
found = {}


def work(i):
    found[i] = [detector.predict(p).score for p in pictures]


threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
[t.start() for t in threads]
[t.join() for t in threads]
expect(len(found) == 3 and all(np.allclose(f, wanted, atol=1e-6) for f in found.values()), "three threads")

end()
