"""The classification network: pooling, gradients, and how it comes back from a run folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from mim3d.config import ClassifyConfig, FinetuneConfig
from mim3d.config.classify import Pooling
from mim3d.config_file import RunConfig, write_config
from mim3d.downstream.classifier import AttentionPool, Classifier, load_classifier, tokens_of
from mim3d.errors import CheckpointError

MakeRun = Callable[[RunConfig], Path]
POOLINGS: tuple[Pooling, ...] = ("mean", "attention")


def test_tokens_are_those_of_the_last_map(classifying: ClassifyConfig) -> None:
    torch.manual_seed(0)
    encoder = Classifier(classifying).encoder.eval()
    volume = torch.rand(2, 1, 32, 32, 16)
    last = encoder.features(volume)[-1]  # (B, C, x, y, z)
    torch.testing.assert_close(tokens_of(encoder, volume), last.flatten(2).transpose(1, 2))


def test_without_attention_it_is_the_mean_of_the_tokens_normalised(classifying: ClassifyConfig) -> None:
    torch.manual_seed(0)
    classifier = Classifier(classifying).eval()
    volume = torch.rand(2, 1, 32, 32, 16)
    pooled = tokens_of(classifier.encoder, volume).mean(dim=1)
    normed = F.layer_norm(pooled, pooled.shape[-1:])
    expected = normed @ classifier.head.weight.T + classifier.head.bias
    torch.testing.assert_close(classifier(volume), expected)


def test_attention_weighs_tokens_head_by_head() -> None:
    torch.manual_seed(0)
    pool = AttentionPool(8, 2)
    torch.nn.init.normal_(pool.query)
    tokens = torch.randn(3, 5, 8)
    key, value = pool.key(tokens), pool.value(tokens)
    expected = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = key[..., head] @ pool.query[head] / 4**0.5  # (B, L)
        expected.append((scores.softmax(dim=1)[..., None] * value[..., head]).sum(dim=1))
    torch.testing.assert_close(pool(tokens), torch.cat(expected, dim=-1))


def test_attention_begins_as_a_mean() -> None:
    torch.manual_seed(0)
    pool, tokens = AttentionPool(8, 2), torch.randn(3, 5, 8)
    torch.testing.assert_close(pool(tokens), pool.value(tokens).mean(dim=1))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("channels", [1, 2])
def test_logits_are_one_a_class(classifying: ClassifyConfig, pooling: Pooling, channels: int) -> None:
    torch.manual_seed(0)
    architecture = replace(classifying.architecture, channels=channels)
    classifier = Classifier(replace(classifying, pooling=pooling, architecture=architecture))
    assert classifier(torch.rand(2, channels, 32, 32, 16)).shape == (2, 3)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_reach_every_weight(classifying: ClassifyConfig, pooling: Pooling) -> None:
    torch.manual_seed(0)
    classifier = Classifier(replace(classifying, pooling=pooling))
    if classifier.pool is not None:
        torch.nn.init.normal_(classifier.pool.query)
        classifier.pool.key.bias.requires_grad_(False)  # which no softmax sees
    logits = classifier(torch.rand(2, 1, 32, 32, 16))
    (logits * torch.randn_like(logits)).sum().backward()
    weights = [(name, weight) for name, weight in classifier.named_parameters() if weight.requires_grad]
    assert [name for name, weight in weights if weight.grad is None or not weight.grad.any()] == []


def test_a_run_comes_back(make_run: MakeRun, classifying: ClassifyConfig) -> None:
    run = make_run(classifying)
    classifier, config = load_classifier(run)
    assert config == classifying
    assert not classifier.training
    torch.manual_seed(1)  # as make_run does
    made = Classifier(classifying).eval()
    volume = torch.rand(1, 1, 32, 32, 16)
    assert torch.equal(classifier(volume), made(volume))


def test_other_runs_are_refused(make_run: MakeRun, finetuned: FinetuneConfig) -> None:
    with pytest.raises(
        CheckpointError, match=r"run: no run of classification; make one with `mim3d finetune cl"
    ):
        load_classifier(make_run(finetuned))


def test_unfinished_and_damaged_runs_are_refused(make_run: MakeRun, classifying: ClassifyConfig) -> None:
    run = make_run(classifying)
    write_config(replace(classifying, classes=("a", "b")), run / "config.json")
    with pytest.raises(
        CheckpointError, match=r"weights.safetensors: of another architecture: 2 tensors .* \(head"
    ):
        load_classifier(run)
    (run / "weights.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"run: holds no weights.safetensors; finish the run with --resume$"
    ):
        load_classifier(run)
