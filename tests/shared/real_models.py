"""The models that docs/pytorch.md counts, with random weights, and what goes into each."""

import os
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from monai.networks.nets import DynUNet, PatchDiscriminator
from torch import Tensor, nn
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig


def hifigan(frames: int, **config: Any) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = SpeechT5HifiGan(SpeechT5HifiGanConfig(**config))
    return model, torch.randn(1, frames, model.config.model_in_dim)


def patch_discriminator(size: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return PatchDiscriminator(spatial_dims=2, channels=64, in_channels=3), torch.randn(2, 3, size, size)


def dyn_unet(size: int) -> tuple[nn.Module, Tensor]:
    """Every LeakyReLU in place, before a convolution that keeps its input."""
    torch.manual_seed(0)
    model = DynUNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=2,
        kernel_size=[3, 3, 3],
        strides=[1, 2, 2],
        upsample_kernel_size=[2, 2],
    )
    return model, torch.randn(2, 1, size, size)
