"""The curves of a training: two CSV files always, a plot and TensorBoard where their packages are installed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vlmad_core.errors import ConfigError
from vlmad_core.files import mark_written, write_whole

__all__ = ["Curves"]

_LOSSES, _EPOCHS, _PLOT, _BOARD = "losses.csv", "epochs.csv", "curves.png", "tensorboard"
Row = dict[str, Any]


class Curves:
    """Rows of a run; those after the state that a run goes on from are dropped.

    Args:
        folder: Where the files lie.
        steps: Steps that were done, in all epochs together.
        epochs: Epochs that were done.
        tensorboard: Write for it too.

    Raises:
        ConfigError: TensorBoard was asked for and is not installed.
    """

    def __init__(self, folder: Path, *, steps: int = 0, epochs: int = 0, tensorboard: bool = False) -> None:
        self.folder = folder
        self.steps = _rows(folder / _LOSSES, "step", steps)
        self.epochs = _rows(folder / _EPOCHS, "epoch", epochs)
        self._board: Any = None
        if tensorboard:
            if find_spec("tensorboard") is None:
                raise ConfigError("tensorboard is not installed: pip install 'vlmad-core[tensorboard]'.")
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / _BOARD), purge_step=steps + 1)

    def step(self, number: int, values: Mapping[str, Any]) -> None:
        """A step was done, counted from 1 over all epochs."""
        self.steps.append({"step": number, **values})
        self._to_board("step", number, values)

    def epoch(self, number: int, values: Mapping[str, Any]) -> None:
        """An epoch was done, counted from 1."""
        self.epochs.append({"epoch": number, **values})
        self._to_board("epoch", number, values)

    def write(self) -> None:
        """Both files, whole."""
        for name, rows in ((_LOSSES, self.steps), (_EPOCHS, self.epochs)):
            write_whole(self.folder / name, _table(rows))
        mark_written(self.folder, _PLOT)
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        """End the files of TensorBoard."""
        if self._board is not None:
            self._board.close()

    def draw(self) -> bool:
        """``curves.png``: the losses of steps and epochs; False where matplotlib is not installed."""
        if find_spec("matplotlib") is None or not self.steps:
            return False
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 4), layout="constrained")  # no pyplot: no window, no global state
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        for name in (name for name in self.steps[0] if name not in ("step", "epoch", "lr")):
            left.plot([row["step"] for row in self.steps], [row[name] for row in self.steps], label=name, linewidth=1)
        left.set(xlabel="step", ylabel="loss", title="each step")
        left.legend()
        names = [name for name in ("loss", "validation_loss", "image_auroc", "pixel_auroc") if self._has(name)]
        for name in names:
            rows = [row for row in self.epochs if row.get(name) is not None]
            right.plot([row["epoch"] for row in rows], [row[name] for row in rows], label=name, marker=".")
        right.set(xlabel="epoch", title="each epoch")
        if names:
            right.legend()
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=100)
        write_whole(self.folder / _PLOT, data.getvalue())
        return True

    def _has(self, name: str) -> bool:
        return any(row.get(name) is not None for row in self.epochs)

    def _to_board(self, kind: str, number: int, values: Mapping[str, Any]) -> None:
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, int | float) and name != "epoch":
                    self._board.add_scalar(f"{kind}/{name}", value, number)


def _table(rows: list[Row]) -> bytes:
    text = io.StringIO(newline="")
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    # repr keeps every digit, so that two runs can be compared
    writer.writerows(
        {k: repr(v) if isinstance(v, float) else "" if v is None else v for k, v in row.items()} for row in rows
    )
    return text.getvalue().encode()


def _rows(path: Path, key: str, last: int) -> list[Row]:
    """Rows of an earlier part of the run, up to ``last``."""
    if not last or not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{name: _value(text) for name, text in row.items()} for row in csv.DictReader(file)]
    return [row for row in rows if 0 < (row.get(key) or 0) <= last]


def _value(text: str) -> int | float | None:
    if not text:
        return None
    return int(text) if text.isdecimal() else float(text)
