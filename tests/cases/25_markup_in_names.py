"""Names that look like markup of the terminal library."""

from common import end, expect, save, texture, vlmad

for name in ("[red]a.png", "b[", "c[/bold].png"):
    if name == "b[":
        save(texture(0)[0], "b[/x].png")
    elif "/" in name:
        save(texture(0)[0], "c[/bold].png")
    else:
        save(texture(0)[0], f"line/{name}")
done = vlmad("predict", "line", "b[", "c[", "--progress")
expect(
    done.returncode == 0 and all(name in done.stdout for name in ("[red]a.png", "b[/x].png", "c[/bold].png")),
    "names are shown as they are",
)

end()
