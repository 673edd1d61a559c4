"""JSON written on Windows begins with a byte order mark: must be read as CSV with one is."""

import json
from pathlib import Path

from common import end, expect, save, texture, vlmad

save(texture(0)[0], "caps/0.png")
save(texture(1, defect=True)[0], "caps/1.png")
rows = [{"image": "caps/0.png", "label": "good"}, {"image": "caps/1.png", "label": "defective"}]
Path("list.csv").write_text(
    "image,label\n" + "".join(f"{r['image']},{r['label']}\n" for r in rows), encoding="utf-8-sig"
)
Path("list.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8-sig")
expect(vlmad("data", "show", "list.csv").returncode == 0, "CSV with a byte order mark (for comparison)")
expect(vlmad("data", "show", "list.jsonl").returncode == 0, "JSONL with a byte order mark")
Path("wide.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-16")
done = vlmad("data", "show", "wide.jsonl")
expect(
    done.returncode == 0 or ("wide.jsonl" in done.stderr and "UnicodeDecodeError" not in done.stderr),
    "JSONL in UTF-16: read, or a sentence that names the file",
)
for i in range(2):
    save(texture(i)[0], f"riad/realiad_1024/jack/OK/S{i}/{i}.jpg")


def item(i):
    return {"image_path": f"OK/S{i}/{i}.jpg", "mask_path": None, "anomaly_class": "OK", "category": "jack"}


Path("riad/realiad_jsons").mkdir()
Path("riad/realiad_jsons/jack.json").write_text(
    json.dumps({"meta": {"prefix": "jack/", "normal_class": "OK"}, "train": [item(0)], "test": [item(1)]}),
    encoding="utf-8-sig",
)
expect(vlmad("data", "show", "riad").returncode == 0, "JSON of Real-IAD that an editor on Windows saved")

end()
