"""The gate's tasks: held-out objects only, pairs in their buckets, the same whenever they are asked for."""

from types import SimpleNamespace

import pytest
import torch

from threestudio_like.data.album import Cameras
from threestudio_like.data.draw import Light, draw
from threestudio_like.data.objects import Object, held_out
from threestudio_like.data.shapes import Shapes
from threestudio_like.data.trials import Trials
from threestudio_like.ops.camera import chosen, spherical

CAMERAS = Cameras(fov_y=49.134, distance=[1.4, 1.9], elevation=[-10.0, 60.0], size=32)
LIGHT = Light(direction=[0.6, 0.0, 0.8], ambient=0.4, diffuse=0.6)
SETTINGS = {
    "buckets": [0, 30, 90, 180],
    "objects": 5,
    "batch": 2,
    "rings": 3,
    "subjects": 2,
    "repeats": 2,
    "twin": 40.0,
}


def trials(**changes) -> Trials:
    settings = {"source": Shapes(count=60, seed=3), "cameras": CAMERAS, "light": LIGHT, "seed": 0, **SETTINGS}
    return Trials(**{**settings, "solid": lambda mesh: True, "novel": 4, **changes})


@pytest.fixture(scope="module")
def some() -> Trials:
    return trials()


def test_tasks_are_pairs_then_subjects(some):
    assert len(some) == 3 + 4
    tasks = [some.task(step) for step in range(7)]
    assert [task.step for task in tasks] == list(range(7))
    assert [len(task.pairs.names) for task in tasks[:3]] == [6, 6, 3]
    assert all(task.subject is None for task in tasks[:3]) and all(task.pairs is None for task in tasks[3:])
    names = [task.subject.name for task in tasks[3:]]
    assert names[:2] == names[2:] and names[0] != names[1]
    assert [task.subject.repeat for task in tasks[3:]] == [0, 0, 1, 1]
    assert all(map(held_out, names)) and all(
        held_out(name) for task in tasks[:3] for name in task.pairs.names
    )


def test_views_are_as_far_apart_as_their_bucket_says(some):
    for index in range(3):
        pairs = some.pairs(index)
        given, asked = (spherical(view.camera)[0] for view in (pairs.reference, pairs.target))
        apart = torch.rad2deg(torch.remainder(asked - given + torch.pi, 2 * torch.pi) - torch.pi).abs()
        for degrees, (low, high) in zip(apart.tolist(), pairs.apart, strict=True):
            assert low - 1e-3 <= degrees <= high + 1e-3
    assert [low for low, _ in some.pairs(0).apart] == [0, 30, 90] * 2


def test_pictures_are_what_their_cameras_see_of_the_object(some):
    pairs = some.pairs(0)
    meshes = {o.name: o.mesh for o in some.split[1]}
    for view in (pairs.reference, pairs.target):
        for i, name in enumerate(pairs.names):
            seen = draw(meshes[name], chosen(view.camera, torch.tensor([i])), LIGHT).rgba
            torch.testing.assert_close(seen[0], view.rgba[i], atol=1e-5, rtol=0)
    apart = (pairs.wrong.c2w - pairs.target.camera.c2w).abs().amax(dim=(1, 2))
    assert (apart > 1e-3).all()


def test_nearest_is_a_training_object_no_other_is_nearer_than(some):
    pairs = some.pairs(0)
    training = some.split[0]
    assert not any(held_out(o.name) for o in training)
    camera = chosen(pairs.reference.camera, torch.tensor([0]))
    drawn = torch.cat([draw(o.mesh, camera, LIGHT).rgba for o in training])
    best = (drawn - pairs.reference.rgba[0]).square().mean(dim=(1, 2, 3)).argmin()
    target = chosen(pairs.target.camera, torch.tensor([1]))
    expected = draw(training[best].mesh, target, LIGHT).rgba[0]
    torch.testing.assert_close(pairs.nearest[1], expected, atol=1e-5, rtol=0)
    assert pairs.mean.shape == (32, 32, 4) and 0 < float(pairs.mean[..., 3].mean()) < 1


def test_a_subject_is_shown_as_itself_and_as_another_from_one_camera(some):
    subject, other = some.subject(0, 1), some.subject(1, 0)
    assert torch.equal(subject.reference.camera.c2w, subject.other.camera.c2w)
    expected = draw(other.mesh, subject.reference.camera, LIGHT)
    assert torch.equal(subject.other.rgb, expected.rgb)
    assert len(subject.novel.rgb) == 4
    assert not torch.equal(subject.reference.camera.c2w, some.subject(0, 0).reference.camera.c2w)


def test_tasks_do_not_depend_on_what_was_asked_before(some):
    fresh = trials()
    fresh.trainer = SimpleNamespace(global_step=5, max_steps=7)
    again = next(iter(fresh.train_dataloader()))
    assert again.step == 5 and torch.equal(again.subject.novel.rgb, some.task(5).subject.novel.rgb)
    assert torch.equal(trials().pairs(2).target.rgb, some.pairs(2).target.rgb)
    assert not torch.equal(trials(seed=1).pairs(2).target.rgb, some.pairs(2).target.rgb)
    assert len(list(fresh.train_dataloader())) == 2


def test_thin_objects_are_passed_over():
    first = [o.mesh for o in trials().split[1]][:3]
    few = trials(solid=lambda mesh: not any(mesh is other for other in few.meshes))
    few.meshes = [o.mesh for o in few.split[1]][:3]
    assert len(first) == 3
    names = [o.name for o in few.subjects]
    assert names == [o.name for o in few.split[1]][3:5]


def test_a_model_under_two_names_is_not_held_out(caplog):
    objects = Shapes(count=60, seed=3).load()
    known = next(o for o in objects if not held_out(o.name))
    twin = next(name for name in map(str, range(99)) if held_out(name))
    mesh = known.mesh
    source = SimpleNamespace(load=lambda: [*objects, Object(twin, mesh)], fingerprint=lambda: "")
    with caplog.at_level("INFO"):
        names = [each.name for each, _ in trials(source=source).kept]
    assert twin not in names and names == [each.name for each, _ in trials().kept] and len(names) > 3
    assert f"left out: {twin}, trained on as {known.name}" in caplog.text
    mesh = mesh._replace(vertices=0.8 * mesh.vertices)  # like it, but another
    assert twin in [each.name for each, _ in trials(source=source).kept]


def test_mistakes():
    with pytest.raises(ValueError, match="objects: 500 held-out"):
        trials(objects=500).shown  # noqa: B018
    with pytest.raises(ValueError, match="subjects: 2 solid held-out objects; there are 0"):
        trials(solid=lambda mesh: False).subjects  # noqa: B018
    with pytest.raises(ValueError, match="subjects: at least two"):
        trials(subjects=1)
    wrong = trials()
    wrong.trainer = SimpleNamespace(global_step=0, max_steps=5)
    with pytest.raises(ValueError, match=r"trainer.max_steps: must be 7, 3 of pairs and 4 of subjects"):
        wrong.train_dataloader()
