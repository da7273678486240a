"""The stream of examples is a function of (seed, step, rank), and its pictures agree with its cameras."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from threestudio_like.data import album as albums
from threestudio_like.data.album import Cameras, Variety
from threestudio_like.data.draw import Light, draw
from threestudio_like.data.objects import Object, held_out, normalized
from threestudio_like.data.shapes import Shapes, mesh, shape
from threestudio_like.data.views import ROUND, Augmentation, Views, color_matrices, lopsided
from threestudio_like.records import Camera, Example, Mesh

CAMERAS = Cameras(fov_y=49.134, distance=[1.4, 1.9], elevation=[-10.0, 60.0], size=32)
LIGHT = Light(direction=[0.6, 0.0, 0.8], ambient=0.4, diffuse=0.6)
STILL = Augmentation(color=0.0, mirror=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("albums"))


def views(folder, **changes) -> Views:
    """Twenty shapes, six views of each."""
    settings = {
        "source": Shapes(count=20, seed=3),
        "cameras": CAMERAS,
        "variety": Variety(variants=2, views=6, stretch=1.3, seed=0),
        "light": LIGHT,
        "favour": 1,
        "augmentation": Augmentation(color=0.5, mirror=True),
        "references": True,
        "batch_size": 8,
        "validation": 12,
        "seed": 0,
        "cache": folder,
    }
    made = Views(**{**settings, **changes})
    made.prepare_data()
    made.setup("fit")
    return made


def test_an_example_is_a_function_of_seed_step_and_rank(folder):
    one, other = views(folder), views(folder)
    a, b = one.example(7, 0), other.example(7, 0)
    assert a.step == 7 and a.prompts == b.prompts
    assert torch.equal(a.target.rgb, b.target.rgb) and torch.equal(a.reference.rgb, b.reference.rgb)
    different = [one.example(8, 0), one.example(7, 1), views(folder, seed=1).example(7, 0)]
    assert all(not torch.equal(a.target.rgb, c.target.rgb) for c in different)


def test_a_resumed_stream_goes_on_where_it_stopped(folder):
    module = views(folder)
    module.trainer = SimpleNamespace(global_step=3, global_rank=0, world_size=1, accumulate_grad_batches=1)
    first = next(iter(module.train_dataloader()))
    assert first.step == 3
    assert torch.equal(first.target.rgb, module.example(3, 0).target.rgb)


def assert_shows(example: Example, which: int, figure: Mesh) -> None:
    """Target and reference are what their cameras see of the mesh, but for pixels on its very outline."""
    for view in (example.target, example.reference):
        place = camera_of(view.camera, which)
        drawn, given = draw(figure, place, LIGHT).rgba, view.rgba[which : which + 1]
        assert float((drawn - given).abs().mean()) < 0.004
        wrong = draw(figure._replace(vertices=figure.vertices.roll(1, dims=1)), place, LIGHT).rgba
        assert float((wrong - given).abs().mean()) > 0.02


def camera_of(many: Camera, which: int) -> Camera:
    return many._replace(c2w=many.c2w[which : which + 1], fov_y=many.fov_y[which : which + 1])


def figures() -> dict[str, Mesh]:
    """The shapes of `views`, by name."""
    return {
        o.name: o.mesh._replace(vertices=normalized(o.mesh.vertices)) for o in Shapes(count=20, seed=3).load()
    }


def test_pictures_agree_with_their_cameras_and_references_show_the_same_object(folder):
    plain = Variety(variants=1, views=6, stretch=1.0, seed=0)
    batch = views(folder, augmentation=STILL, variety=plain).example(0, 0)
    for which, name in enumerate(batch.prompts):
        assert_shows(batch, which, figures()[name])
    apart = (batch.target.camera.c2w - batch.reference.camera.c2w).abs().amax(dim=(1, 2))
    assert (apart > 1e-3).all()


def test_mirrored_examples_are_pictures_of_the_mirrored_object(folder):
    plain = Variety(variants=1, views=6, stretch=1.0, seed=0)
    mirrored = views(folder, augmentation=Augmentation(color=0.0, mirror=True), variety=plain).example(1, 0)
    still = views(folder, augmentation=STILL, variety=plain).example(1, 0)
    flipped = [i for i in range(8) if not torch.equal(mirrored.target.rgb[i], still.target.rgb[i])]
    assert 0 < len(flipped) < 8
    for which in flipped:
        figure = figures()[mirrored.prompts[which]]
        other_side = figure.vertices * torch.tensor([1.0, -1.0, 1.0])
        assert_shows(mirrored, which, figure._replace(vertices=other_side))


def test_held_out_names_are_validated_on_and_never_trained_on(folder):
    module = views(folder)
    trained = {name for step in range(10) for name in module.example(step, 0).prompts}
    batches = list(module.val_dataloader())
    validated = {name for batch in batches for name in batch.prompts}
    assert validated and trained
    assert all(map(held_out, validated)) and not any(map(held_out, trained))
    assert [len(batch.prompts) for batch in batches] == [8, 4]
    again = views(folder).validation_examples()
    assert all(torch.equal(a.target.rgb, b.target.rgb) for a, b in zip(batches, again, strict=True))


def test_without_references_there_are_none(folder):
    assert views(folder, references=False).example(0, 0).reference is None


def test_albums_are_drawn_once_whatever_the_runs_seed(folder, monkeypatch):
    views(folder)
    monkeypatch.setattr(albums, "draw", lambda *_: pytest.fail("drawn again"))
    views(folder, seed=5, batch_size=2)


def test_a_source_that_is_all_held_out_is_refused_and_one_with_none_warns(folder, tmp_path, caplog):
    names = [f"object {i}" for i in range(40)]
    kept, seen = next(n for n in names if held_out(n)), next(n for n in names if not held_out(n))
    figure = mesh(shape(0, 0))

    def source(name):
        return SimpleNamespace(load=lambda: [Object(name, figure)], fingerprint=lambda: name)

    with pytest.raises(ValueError, match="held out"):
        views(str(tmp_path), source=source(kept))
    with caplog.at_level(logging.WARNING):
        assert views(str(tmp_path), source=source(seen)).val_dataloader() == []
    assert "no validation" in caplog.text


def test_colour_matrices_keep_grey_up_to_the_gains_and_zero_changes_nothing():
    rng = np.random.default_rng(0)
    assert torch.equal(color_matrices(rng, 4, 0.0), torch.eye(3).expand(4, 3, 3))
    matrices = color_matrices(rng, 200, 0.5)
    gains = matrices.sum(dim=1)  # what a grey of 1 becomes
    assert torch.all(gains > 0.4) and torch.all(gains < 2.5)
    assert float(gains.log().mean().abs()) < 0.05
    assert float((matrices - torch.eye(3)).abs().mean()) > 0.02


def test_what_is_not_round_is_favoured(folder):
    plain, favoured = views(folder).training, views(folder, favour=3).training
    outlines = np.zeros((2, 4, 8, 8, 4), np.uint8)
    outlines[0, :, 2:6, 2:6, 3] = 255  # the same on both sides
    outlines[1, :, 2:6, :4, 3] = 255  # all of it on one
    book = albums.Album(["round", "flag"], outlines, np.zeros((2, 4, 3), np.float32), np.arange(2))
    assert lopsided(book).tolist() == [0.0, 1.0]
    others = set(plain.rows[lopsided(plain) > ROUND])
    assert 0 < len(others) < len(plain.rows)
    times = {row: int((favoured.rows == row).sum()) for row in plain.rows}
    assert times == {row: 3 if row in others else 1 for row in plain.rows}
