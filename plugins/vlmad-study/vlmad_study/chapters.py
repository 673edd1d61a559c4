"""The chapters of the report: for each section, sentences that the numbers bear, a table, and a picture."""

from __future__ import annotations

from vlmad_core.report import plots
from vlmad_study.document import Block, Bullets, Heading, Picture, Shown, Text
from vlmad_study.material import MARKS, SEEN, Material, bars, lead
from vlmad_study.standing import against, difference, is_perfect, outrun, points, shown_table, standings

__all__ = ["alignment", "cross_domain", "features", "shots"]


def features(study: Material) -> list[Block]:
    """What to look at: blocks, second paths, windows; against words and against a memory."""
    ranked = standings(study.rows["features"])
    blocks: list[Block] = [Heading("1 Features: where to look")]
    told = []
    for kind, about in (("words", "Against words"), ("memory", "Against a memory of normal images")):
        mine = [one for one in ranked if one.method.endswith(f", {kind}")]
        if len(mine) > 1:
            told.append(f"{about}: {lead(study, 'features', mine)}")
    blocks.append(Text(" ".join(told)))
    blocks.append(
        Text(
            "Everything else is the same for all lines: the backbone's own words, or a memory of "
            f"{study.scope.reference} normal images of one draw; the image score is the highest cell (words) or the "
            "mean of "
            "the highest 1 % (memory).",
            "note",
        )
    )
    for kind in ("words", "memory"):
        mine = [one for one in ranked if one.method.endswith(f", {kind}")]
        if mine:
            worse = outrun(study.out / "features", mine[0], mine[1:])
            blocks.append(
                Shown(
                    shown_table(mine, f"Features against {'words' if kind == 'words' else 'a memory'}. {MARKS}", worse)
                )
            )
    return [*blocks, *bars(study, "features", ranked)]


def alignment(study: Material) -> list[Block]:
    """Joint space, learned projections and words, raw memory."""
    ranked = standings(study.rows["alignment"])
    blocks: list[Block] = [Heading("2 Alignment: what to hold it against"), Text(lead(study, "alignment", ranked))]
    joint = [one for one in ranked if one.method == "memory in the joint space"]
    raw = [one for one in ranked if one.method.partition(" (")[0] == "patch-memory"]
    if joint and raw:
        found = against(study.out / "alignment", raw[0], joint[0])
        blocks.append(
            Text(
                f"The same memory, of raw patches ({points(raw[0].image)}) and of patches projected to the words "
                f"({points(joint[0].image)}): {difference(found)}."
            )
        )
    worse = outrun(study.out / "alignment", ranked[0], ranked[1:]) if ranked else []
    return [*blocks, Shown(shown_table(ranked, f"Alignments. {MARKS}", worse)), *bars(study, "alignment", ranked)]


def shots(study: Material) -> list[Block]:
    """Accuracy over the number of normal images."""
    rows, ranked = study.rows["shots"], standings(study.rows["shots"])
    folder = study.out / "shots"
    blocks: list[Block] = [Heading("4 Shots: how many normal images")]
    numbers = sorted({one.shots for one in ranked if one.shots})
    items, flat = [], []
    for method in dict.fromkeys(one.method for one in ranked):
        mine = {one.shots: one for one in ranked if one.method == method and one.shots}
        if len(mine) < 2:
            continue
        low, high = mine[min(mine)], mine[max(mine)]
        found = against(folder, high, low)
        if is_perfect(low.image) and is_perfect(high.image):
            flat.append(f"“{method}”")
            continue
        items.append(
            f"**{method}**, from {min(mine)} to {max(mine)} normal images, image AUROC goes from "
            f"{100 * (low.image.value or 0):.1f} to {100 * (high.image.value or 0):.1f} %; {difference(found)}."
        )
    if flat:
        items.append(f"Without a mistake from the first normal image on: {', '.join(flat)}.")
    if numbers:
        draws = f"{study.scope.seeds} draws" if study.scope.seeds > 1 else "one draw"
        blocks.append(
            Text(
                f"Each number of normal images is the mean of {draws}, the same for all methods; fewer are a part of "
                "more."
            )
        )
    blocks += [Bullets(tuple(items))] if items else []
    blocks.append(Shown(shown_table(ranked, "Methods by number of normal images. ±: standard deviation over draws.")))
    labels = [one.method for one in ranked]
    if len({row["shots"] for row in rows if row["status"] == "done"}) > 1:
        done = [row for row in rows if row["status"] == "done"]
        for metric in ("image_auroc", "aupro"):
            values = [value for one in ranked if (value := one.rows.mean(metric).value) is not None]
            if values and max(values) - min(values) > SEEN:
                path = study.pictures / f"shots-{metric.replace('_', '-')}"
                picture = plots.shots(done, path, metric=metric, methods=labels)[0]
                blocks.append(Picture(picture, f"{metric.replace('_', ' ')} over the number of normal images"))
    return blocks


def cross_domain(study: Material) -> list[Block]:
    """Trained on one, judged on the other."""
    blocks: list[Block] = [Heading("6 Cross-domain: trained here, judged there")]
    for dataset in study.datasets:
        ranked = standings(study.rows["cross-domain"], dataset=dataset)
        honest = [one for one in ranked if not one.rows.trained_here]
        if not honest:
            continue
        learned = [one for one in honest if one.method.startswith("learned")]
        others = [one for one in honest if one not in learned]
        if learned and others:
            found = against(study.out / "cross-domain", learned[0], others[0], dataset=dataset)
            blocks.append(
                Text(
                    f"Judged on **{dataset}**: the best that learned elsewhere is {learned[0].name} "
                    f"({points(learned[0].image)}), the best that learned nothing {others[0].name} "
                    f"({points(others[0].image)}); "
                    f"{difference(found)}."
                )
            )
        caption = f"Judged on {dataset}. What was trained on it is there to show what that proves: nothing."
        blocks.append(Shown(shown_table(ranked, caption)))
    return blocks
