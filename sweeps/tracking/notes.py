"""Descriptions that this project writes to MLflow, without the loss of a reviewer's own text.

Text stands between two marks, which the page does not show. A reviewer may write above and below
them. If the text between them was edited, or the marks were removed, the description is left alone.
"""

from __future__ import annotations

from sweeps.tracking.marks import short_digest


def merge_note(current: str | None, text: str, written: str, key: str = "") -> str | None:
    """Put a text into a description; return the new description, None to leave it alone.

    Args:
        current: The description; None without one.
        text: The text to write.
        written: Digests of the texts that may have been written last, with spaces between.
        key: Distinguishes the texts of several stores in one description.
    """
    start, end = (f"<!-- {word}{key and f' {key}'} -->\n" for word in ("care", "end of care"))
    block = f"{start}{text}\n{end}"
    if current is None:
        return block
    before, found, rest = current.partition(start)
    inside, closed, after = rest.partition(end)
    if found and closed:
        unedited = short_digest(inside.removesuffix("\n")) in written.split()
        return f"{before}{block}{after}" if unedited else None
    if key and not written and not found:  # another store's, or a user's; ours is added
        return f"{current.rstrip()}\n\n{block}"
    return block if short_digest(current) in written.split() else None
