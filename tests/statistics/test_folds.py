"""Folds that are the same on every machine."""

import numpy as np
import pytest

from harness.statistics.length_control_glm import assign_folds, introsort_order


def test_stable_folds_are_dealt_from_the_end():
    # reversed: 6 5 4 3 2 1 0 go to 0 1 2 0 1 2 0
    assert assign_folds(7, 3).tolist() == [0, 2, 1, 0, 2, 1, 0]


def test_sixteen_equal_keys_stay_as_they_are():
    assert introsort_order(16).tolist() == list(range(16))
    assert (assign_folds(16, 5, "introsort") == assign_folds(16, 5)).all()


def test_seventeen_equal_keys_are_partitioned_once():
    # 8 (the middle) and 15 change places: 0 1 2 3 4 5 6 7 15 9 10 11 12 13 14 8 16; then
    # (1, 14) (2, 13) ... (7, 8) do; the bounds meet at place 8, which changes with place 15
    wanted = [0, 14, 13, 12, 11, 10, 9, 15, 8, 6, 5, 4, 3, 2, 1, 7, 16]
    assert introsort_order(17).tolist() == wanted
    # dealt from the end: 16 -> 0, 7 -> 1, 1 -> 2, 2 -> 3, 3 -> 4, 4 -> 0
    assert assign_folds(17, 5, "introsort")[[16, 7, 1, 2, 3, 4]].tolist() == [0, 1, 2, 3, 4, 0]


@pytest.mark.parametrize("n", [0, 1, 17, 100, 2415])
@pytest.mark.parametrize("order", ["stable", "introsort"])
def test_every_group_is_in_one_fold_and_folds_are_even(n, order):
    assert sorted(introsort_order(n)) == list(range(n))
    sizes = np.bincount(assign_folds(n, 5, order), minlength=5)
    assert sizes.sum() == n
    assert np.ptp(sizes) <= 1


def test_the_two_orders_are_not_the_same():
    assert (assign_folds(2415, 5) != assign_folds(2415, 5, "introsort")).mean() > 0.5


def quicksorted(keys):
    """Sort indices as numpy's scalar quicksort does, by comparisons; small ranges by insertion."""
    order, ranges = list(range(len(keys))), [(0, len(keys) - 1)]
    while ranges:
        first, last = ranges.pop()
        if last - first < 16:
            order[first : last + 1] = sorted(order[first : last + 1], key=keys.__getitem__)
        else:
            cut = partitioned(keys, order, first, last)
            ranges += [(first, cut - 1), (cut + 1, last)]
    return order


def partitioned(keys, order, first, last):
    """Partition around the median of three; return where the pivot is."""

    def swap(i, j):
        order[i], order[j] = order[j], order[i]

    middle = (first + last) // 2
    for i, j in ((middle, first), (last, middle), (middle, first)):
        if keys[order[i]] < keys[order[j]]:
            swap(i, j)
    pivot, left, right = keys[order[middle]], first, last - 1
    swap(middle, right)
    while True:
        left, right = left + 1, right - 1
        while keys[order[left]] < pivot:
            left += 1
        while pivot < keys[order[right]]:
            right -= 1
        if left >= right:
            swap(left, last - 1)
            return left
        swap(left, right)


@pytest.mark.parametrize("n", [17, 18, 33, 34, 100, 805, 2415])
def test_equal_keys_are_left_as_a_quicksort_by_comparisons_leaves_them(n):
    shuffled = np.random.default_rng(n).permutation(n)
    assert shuffled[quicksorted(shuffled.tolist())].tolist() == list(range(n))  # it does sort
    assert introsort_order(n).tolist() == quicksorted([0] * n)
