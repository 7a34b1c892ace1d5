"""The choice of the library for fp32 products: measured, never less than fp32, and put back."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from seqloom.nn.kernels import precision
from seqloom.nn.kernels.precision import (
    BatchedProducts,
    fast_fp32,
    onednn_gain,
    onednn_keeps_fp32,
    product_error,
    products_seconds,
    serving_library,
)

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def measured_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine where oneDNN is twice as fast, whatever this one is."""
    onednn_keeps_fp32.cache_clear()
    onednn_gain.cache_clear()
    monkeypatch.setattr(precision, "products_seconds",
                        lambda: 2.0 if torch.get_float32_matmul_precision() == "highest" else 1.0)
    yield
    onednn_keeps_fp32.cache_clear()
    onednn_gain.cache_clear()
    assert torch.get_float32_matmul_precision() == "highest"


def test_the_default_library_multiplies_in_fp32() -> None:
    assert product_error() < precision.FP32_ERROR


def test_less_than_fp32_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """TF32 keeps 10 bits of a factor, bf16 7."""
    multiply = torch.Tensor.__matmul__
    for bits in (10, 7):
        def rounded(left: torch.Tensor, right: torch.Tensor, bits: int = bits) -> torch.Tensor:
            if left.dtype == torch.float64:
                return multiply(left, right)
            mantissa, exponent = torch.frexp(left)
            return multiply(torch.ldexp((mantissa * 2 ** (bits + 1)).round() / 2 ** (bits + 1), exponent), right)

        monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
        assert product_error() > 10 * precision.FP32_ERROR


def test_inside_products_are_fp32_and_afterwards_everything_is_as_before() -> None:
    left, right = torch.randn(64, 512), torch.randn(512, 64)
    exact = left.double() @ right.double()
    with fast_fp32():
        assert torch.get_float32_matmul_precision() == ("medium" if onednn_keeps_fp32() else "highest")
        assert ((left @ right).double() - exact).norm() < 4e-6 * exact.norm()
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("before", ["highest", "high", "medium"])
def test_what_stood_before_comes_back_after_an_error_too(before: str) -> None:
    torch.set_float32_matmul_precision(before)
    with pytest.raises(ZeroDivisionError), fast_fp32():
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == before
    torch.set_float32_matmul_precision("highest")


def test_a_library_that_rounds_to_bf16_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "product_error", lambda: 3e-3)
    torch.set_float32_matmul_precision("medium")
    with fast_fp32():
        assert torch.get_float32_matmul_precision() == "highest"
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(("seconds", "served"), [(1.1, "highest"), (2.0, "medium")])
def test_onednn_serves_a_small_model_where_it_is_clearly_faster(seconds: float, served: str,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "product_error", lambda: 0.0)
    monkeypatch.setattr(precision, "products_seconds",
                        lambda: seconds if torch.get_float32_matmul_precision() == "highest" else 1.0)
    with fast_fp32(small=True):
        assert torch.get_float32_matmul_precision() == served
    with fast_fp32():
        assert torch.get_float32_matmul_precision() == "medium"
    assert onednn_gain() == seconds
    assert serving_library() == "oneDNN"
    assert serving_library(small=True) == ("oneDNN" if served == "medium" else "the default library")


def test_one_slow_moment_does_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = iter([50.0, 1.0] + [1.0] * 2 * precision.MEASUREMENTS)
    monkeypatch.setattr(precision, "products_seconds", lambda: next(slow))
    assert onednn_gain() == 1.0


def test_what_is_timed_takes_time() -> None:
    assert products_seconds() > 1e-6  # 84 million operations


@pytest.mark.parametrize(("parameters", "given", "kept"), [
    (precision.SMALL_MODEL, None, str(precision.KEPT_SHAPES)), (precision.SMALL_MODEL - 1, None, None),
    (precision.SMALL_MODEL, "17", "17")], ids=["large", "small", "the user's"])
def test_a_large_model_lets_onednn_keep_less(parameters: int, given: str | None, kept: str | None,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    monkeypatch.delenv(name, raising=False)
    if given is not None:
        monkeypatch.setenv(name, given)
    precision.bound_memory(parameters)
    assert os.environ.get(name) == kept
    monkeypatch.setenv(name, "")  # so that the variable is taken back at the end
    monkeypatch.delenv(name)


def test_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(precision, "product_error", lambda: calls.append(1) or 0.0)
    for _ in range(3):
        with fast_fp32():
            pass
    assert len(calls) == 1


def test_the_generator_of_random_numbers_is_left_alone() -> None:
    state = torch.get_rng_state()
    with fast_fp32():
        pass
    assert torch.equal(torch.get_rng_state(), state)


def test_with_cuda_the_setting_that_allows_tf32_is_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch before 2.9 has no setting of oneDNN's own, and then there is nothing to be done."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    own = getattr(torch.backends.mkldnn, "matmul", None)
    before = getattr(own, "fp32_precision", None)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", pytest.fail)
    with fast_fp32():
        assert not torch.backends.cuda.matmul.allow_tf32
        assert getattr(own, "fp32_precision", None) == (before if not onednn_keeps_fp32() else "bf16")
    assert getattr(own, "fp32_precision", None) == before
    monkeypatch.setattr(precision, "_ONEDNN", None)
    onednn_keeps_fp32.cache_clear()
    assert not onednn_keeps_fp32()
    with fast_fp32(), BatchedProducts(CPU):
        pass


def test_batched_products_go_to_the_default_library_and_back() -> None:
    torch.set_float32_matmul_precision("medium")
    batched = BatchedProducts(CPU)
    for _ in range(2):
        with batched:
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    with pytest.raises(ZeroDivisionError), batched:
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == "medium"
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("setting", ["highest", "high"])
def test_batched_products_change_nothing_that_onednn_does_not_serve(setting: str) -> None:
    torch.set_float32_matmul_precision(setting)
    with BatchedProducts(CPU):
        assert torch.get_float32_matmul_precision() == setting
    torch.set_float32_matmul_precision("highest")


def test_products_of_attention_stay_exact_where_the_others_are_bf16() -> None:
    """On a CPU, value and gradient; and the attention value has the type of what it is a mean of."""
    draw = torch.Generator().manual_seed(3)
    left = torch.randn(3, 4, 20, generator=draw, requires_grad=True)
    right = torch.randn(3, 20, 5, generator=draw, requires_grad=True)
    weight = torch.randn(3, 4, 5, generator=draw)
    expected = torch.einsum("bki,bis->bks", left, right)
    gradients = torch.autograd.grad((expected * weight).sum(), (left, right))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.bmm(left, right).dtype == torch.bfloat16
        found = precision.many_products(left, right)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad((found * weight).sum(), (left, right)), gradients)
    with torch.autocast("cpu", torch.bfloat16):
        low = precision.many_products(left.bfloat16(), right.bfloat16())
    assert low.dtype == torch.float32
    assert precision.many_products(left.double(), right.double()).dtype == torch.float64
