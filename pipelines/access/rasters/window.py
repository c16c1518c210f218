"""A rectangle of a raster's pixels."""

from __future__ import annotations

from typing import NamedTuple


class Window(NamedTuple):
    """Rows [row, row + height) and columns [column, column + width) of a raster or of a frame."""

    row: int
    column: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """The row after the last."""
        return self.row + self.height

    @property
    def right(self) -> int:
        """The column after the last."""
        return self.column + self.width

    def moved(self, rows: int, columns: int) -> Window:
        """The same rectangle, counted from another first pixel."""
        return Window(self.row + rows, self.column + columns, self.height, self.width)
