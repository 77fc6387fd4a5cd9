from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from care.data.subset import select_balanced

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=60)


@given(LABELS, st.data())
def test_classes_give_equally_many_or_all_they_have(labels: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(labels)))
    every = torch.tensor(labels)
    index = select_balanced(every, count)
    assert len(set(index.tolist())) == count
    assert index.tolist() == sorted(index.tolist())
    have, got = every.bincount(minlength=5), every[index].bincount(minlength=5)
    unexhausted = got[got < have]
    if len(unexhausted):
        assert int(got.max() - unexhausted.min()) <= 1


@given(LABELS, st.data())
def test_a_smaller_part_lies_within_a_larger_one(labels: list[int], data: st.DataObject) -> None:
    large = data.draw(st.integers(1, len(labels)))
    small = data.draw(st.integers(1, large))
    every = torch.tensor(labels)
    assert set(select_balanced(every, small).tolist()) <= set(
        select_balanced(every, large).tolist()
    )


def test_unlabelled_samples_keep_their_share() -> None:
    """STL-10 has one labelled image in 21."""
    labels = torch.cat([torch.arange(50) % 10, torch.full((1000,), -1)])
    chosen = labels[select_balanced(labels, 210)]
    assert int((chosen >= 0).sum()) == 10
    assert chosen[chosen >= 0].bincount().tolist() == [1] * 10


def test_the_part_is_the_same_in_every_process() -> None:
    assert select_balanced(torch.arange(20) % 2, 4).tolist() == [2, 6, 15, 17]
