"""Objects by name: the catalogue's, procedural ones, files; a name that nothing has gets the nearest."""

import zipfile

import pytest
import torch

from threestudio_like.data import named, shapes

PROPERTIES = "\n".join(
    [
        f"model#{i}=/made/{i}/m.obj\nname#{i}={name}"
        for i, name in enumerate(("Cup Cake", "Chair", "chair"), 1)
    ]
)
OBJ = "v 0 0 0\nv 1 0 0\nv 1 {0} 0\nv 0 {0} 0\nv 0 0 0.2\nf 1 2 3\nf 1 3 4\nf 1 4 5\n"


@pytest.fixture
def catalogue(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "made.sh3f", "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", PROPERTIES)
        for i, height in ((1, 0.5), (2, 0.25), (3, 0.75)):
            archive.writestr(f"made/{i}/m.obj", OBJ.format(height))
    monkeypatch.setattr(named, "CATALOGUE", tmp_path)
    return tmp_path


def height(mesh):
    return (mesh.vertices.amax(0) - mesh.vertices.amin(0))[2].item()


@pytest.mark.parametrize(
    ("name", "expected"), [("cup-cake", 0.5), ("cup cake", 0.5), ("chair", 0.25), ("chair/2", 0.75)]
)
def test_furniture_is_found_by_its_name(catalogue, name, expected):
    assert height(named.read(f"furniture/{name}")) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("furniture/cup-cakes", r"no 'cup-cakes'; did you mean 'furniture/cup-cake'\?"),
        ("furniture/CupCake", r"no 'CupCake'; did you mean 'furniture/cup-cake'\?"),
        ("furniture/xyz", "no 'xyz'; choose one of furniture/chair, furniture/cup-cake"),
        ("furniture/chair/3", "there are 2 of 'chair'"),
        ("shapes/torsu", r"no 'torsu'; did you mean 'torus'\?, or give a number"),
        ("shapes/x", "choose one of box, capsule, cone, cylinder, sphere, torus"),
    ],
)
def test_a_name_that_nothing_has(catalogue, name, message):
    with pytest.raises(ValueError, match=message):
        named.check(name)
    with pytest.raises(ValueError, match=message):
        named.read(name)


def test_of_many_some_are_named_and_counted(catalogue, monkeypatch):
    monkeypatch.setattr(named, "FEW", 1)
    with pytest.raises(ValueError, match="no 'xyz'; choose one of 2, such as furniture/c"):
        named.check("furniture/xyz")


def test_without_the_catalogue_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(named, "CATALOGUE", tmp_path)
    with pytest.raises(ValueError, match="apt-get install sweethome3d-furniture"):
        named.check("furniture/chair")


def test_shapes_are_found_by_number_and_by_kind():
    torch.testing.assert_close(named.read("shapes/7").vertices, shapes.mesh(shapes.shape(0, 7)).vertices)
    ball = named.read("shapes/sphere").vertices
    torch.testing.assert_close(ball.norm(dim=-1), torch.full((len(ball),), 0.5))


def test_a_file_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "box.obj").write_text(OBJ.format(0.5))
    assert not named.is_name("shapes/box.obj") and named.is_name("shapes/box")
    assert height(named.read("shapes/box.obj")) == pytest.approx(0.5)
