"""Maps against arithmetic by hand, and what must hold of any map."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sarcoscope.core.errors import InputError
from sarcoscope.diagnosis.fusion import fuse_product, softmax
from sarcoscope.explain.cam import class_maps, heat, logits_of, mean_maps, summary, upsampled

Array = npt.NDArray[np.float32]
values = st.floats(-4, 4, width=32)


def drawn(*shape: int) -> st.SearchStrategy[Array]:
    return arrays(np.float32, shape, elements=values)


def test_a_map_is_the_weighted_sum_of_the_feature_maps_by_hand() -> None:
    features = np.array([[[[1, 2], [3, 4]], [[0, 1], [0, -1]]]], np.float32)  # two features of 2 x 2
    weight = np.array([[2, 10], [0, -1], [1, 0]], np.float32)
    maps = class_maps(features, weight)
    assert maps.tolist() == [[[[2, 14], [6, -2]], [[0, -1], [0, 1]], [[1, 2], [3, 4]]]]
    assert logits_of(maps, np.array([1.0, 0.5, 0.0])).tolist() == [[6.0, 0.5, 2.5]]


@given(drawn(2, 5, 3, 4), drawn(3, 5), drawn(3))
def test_the_mean_of_a_map_and_the_bias_are_the_logit(features: Array, weight: Array, bias: Array) -> None:
    expected = features.mean(axis=(2, 3), dtype=np.float64) @ weight.T.astype(np.float64) + bias
    np.testing.assert_allclose(logits_of(class_maps(features, weight), bias), expected, atol=1e-4)


@given(drawn(1, 4, 2, 2), drawn(5, 4), st.permutations(range(5)))
def test_classes_in_another_order_have_their_maps_in_that_order(
    features: Array, weight: Array, order: list[int]
) -> None:
    np.testing.assert_array_equal(class_maps(features, weight)[:, order], class_maps(features, weight[order]))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"features of shape \(1, 4, 2, 2\) under a layer of shape \(3, 5\)"):
        class_maps(np.zeros((1, 4, 2, 2), np.float32), np.zeros((3, 5), np.float32))
    with pytest.raises(InputError, match="no member"):
        mean_maps([])


def test_upsampling_is_linear_between_the_centres_of_cells_by_hand() -> None:
    large = upsampled(np.array([[0, 4], [8, 12]], np.float32), 4)
    assert large.tolist() == [[0, 1, 3, 4], [2, 3, 5, 6], [6, 7, 9, 10], [8, 9, 11, 12]]


@given(drawn(2, 3, 3), st.integers(1, 7))
def test_upsampling_by_a_whole_factor_keeps_the_mean(maps: Array, factor: int) -> None:
    large = upsampled(maps, 3 * factor)
    assert large.shape == (2, 3 * factor, 3 * factor)
    np.testing.assert_allclose(large.mean(axis=(1, 2)), maps.mean(axis=(1, 2)), atol=1e-4)


def test_heat_by_hand() -> None:
    found = heat(np.array([[[-2, 1], [4, 0]], [[-2, -1], [-3, 0]]], np.float32))
    assert found.tolist() == [[[0, 0.25], [1, 0]], [[0, 0], [0, 0]]]


@given(drawn(3, 4, 4), st.floats(0.1, 10))
def test_heat_lies_in_0_to_1_and_knows_no_unit(maps: Array, factor: float) -> None:
    found = heat(maps)
    assert found.min() >= 0
    assert found.max() <= 1
    np.testing.assert_allclose(heat(maps * np.float32(factor)), found, atol=1e-5)
    for one, shown in zip(maps, found, strict=True):
        assert shown.max() == (1 if one.max() > 0 else 0)


def test_the_mean_of_members_by_hand_and_on_the_finest_grid() -> None:
    fine = np.array([[[[0, 4], [8, 12]]]], np.float32)
    coarse = np.array([[[[6]]]], np.float32)
    assert mean_maps([fine, coarse]).tolist() == [[[[3, 5], [7, 9]]]]
    assert mean_maps([fine, coarse], [0.75, 0.25]).tolist() == [[[[1.5, 4.5], [7.5, 10.5]]]]
    assert mean_maps([fine, coarse], [0, 0]).tolist() == [[[[3, 5], [7, 9]]]]


@given(drawn(3, 2, 4, 2, 2), drawn(3, 4, 4), drawn(3, 4))
def test_mean_maps_and_mean_bias_decide_as_the_product_of_probabilities_does(
    features: Array, weights: Array, biases: Array
) -> None:
    maps = [class_maps(one, weight) for one, weight in zip(features, weights, strict=True)]
    members = np.stack([softmax(logits_of(one, bias)) for one, bias in zip(maps, biases, strict=True)])
    expected = fuse_product(np.maximum(members, 1e-12))
    found = softmax(3 * logits_of(mean_maps(maps), biases.mean(axis=0)))
    if members.min() > 1e-11:  # below that the product has a floor
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_map_in_numbers_by_hand() -> None:
    said = summary(np.array([[-1, 0, 2, 0], [0, 0, 5, -2]], np.float32))
    assert (said.mean, said.least, said.largest, said.positive) == (0.5, -2, 5, 0.25)
    assert said.at == (0.625, 0.75)
