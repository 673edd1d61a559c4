"""A pointer of git LFS, or a page of an error, in place of the weights: the sentence must not advise to unpickle it."""

from pathlib import Path

from common import end, expect, save, texture, vlmad

pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "4d7a" * 16 + "\nsize 605143208\n"
for name in ("clip.pt", "clip.safetensors"):
    Path(name).write_text(pointer)
    save(texture(0)[0], "a.png")
    done = vlmad(
        "predict",
        "a.png",
        "--recipe",
        "clip",
        "--weights",
        name,
        "--set",
        "backbone.config.model=ViT-S-32-alt",
        "--class-name",
        "sheet",
    )
    expect(
        done.returncode == 1 and "unpickling it would run code" not in done.stderr,
        f"{name}: is not called a pickle that could be loaded where it is trusted",
    )
    expect(
        "LFS" in done.stderr or "pointer" in done.stderr or "text" in done.stderr,
        f"{name}: says that it is a pointer, or text",
    )

end()
