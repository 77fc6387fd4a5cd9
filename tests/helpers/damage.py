"""What happens to files: they are cut, filled, changed, doubled, or something else."""

from __future__ import annotations

from hypothesis import strategies as st


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """Contents that a file may have after damage, ``whole`` itself among them."""
    place = st.integers(0, len(whole) - 1)
    return st.one_of(
        place.map(lambda end: whole[:end]),
        place.map(lambda start: whole[start:]),
        st.tuples(place, st.integers(1, 255)).map(lambda at: _flip(whole, *at)),
        st.lists(st.tuples(place, st.integers(1, 255)), max_size=9).map(
            lambda ats: _all(whole, ats)
        ),
        st.tuples(place, st.integers(1, 600), st.sampled_from([0, 255])).map(
            lambda hole: _fill(whole, *hole)
        ),
        st.tuples(place, place).map(lambda ends: whole[: min(ends)] + whole[max(ends) :]),
        st.binary(max_size=60).map(lambda tail: whole + tail),
        st.binary(max_size=200),
    )


def _flip(whole: bytes, place: int, mask: int) -> bytes:
    return whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :]


def _all(whole: bytes, places: list[tuple[int, int]]) -> bytes:
    for place, mask in places:
        whole = _flip(whole, place, mask)
    return whole


def _fill(whole: bytes, start: int, length: int, value: int) -> bytes:
    """A hole, as a power cut leaves one."""
    length = min(length, len(whole) - start)
    return whole[:start] + bytes([value]) * length + whole[start + length :]
