"""DDPM with text: samples and pictures have their shapes, and both lines of the grid are there."""

import torch


def test_samples_follow_the_prompt(small_system, examples):
    system, batch = small_system("ddpm"), examples(1)[0]
    noise = torch.randn(1, *system.prior.shape).expand(4, -1, -1, -1)
    with torch.no_grad():
        batch = batch._replace(prompts=["cup", "cup", "tree", ""])
        x = system.sample(system.told(system.averaged, batch), noise)
    assert x.abs().max() <= 1
    assert (x[0] - x[2]).abs().max() > 1e-3


def test_pictures(small_system, examples):
    system = small_system("ddpm")
    with torch.no_grad():
        pictures = system.pictures(examples(1)[0])
    assert pictures["samples"].shape == (2 * 16, 4 * 16, 3)
