"""A hand-made catalogue in the layout of Sweet Home 3D's."""

import zipfile

import torch

from threestudio_like.data.objects import Objects

PROPERTIES = """# a comment
name=A catalogue
model#2=/made/cup/cup.obj
name#2=Caf\xe9 Cup
creator#2=Somebody
model#1=/made/flag/flag.obj
name#1=Flag
modelRotation#1=0 0 1 0 1 0 -1 0 0
"""
OBJ = "mtllib {0}.mtl\nv 0 0 0\nv 1 0 0\nv 1 0.5 0\nv 0 0.5 0\nv 0 0 0.2\n"
OBJ += "usemtl paint\nf 1 2 3\nf 1 3 4\nf 1 4 5\n"


def test_models_are_named_turned_and_coloured(tmp_path):
    with zipfile.ZipFile(tmp_path / "made.sh3f", "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", PROPERTIES.encode("latin-1"))
        for name in ("cup", "flag"):
            archive.writestr(f"made/{name}/{name}.obj", OBJ.format(name))
            archive.writestr(f"made/{name}/{name}.mtl", "newmtl paint\nKd 0.2 0.4 0.8\n")
    flag, cup = Objects(path=str(tmp_path), cache=str(tmp_path / "kept")).load()
    assert (flag.name, cup.name) == ("flag", "caf\xe9 cup")
    # file (x, y, z) is the house's (z, x, y); the flag's rotation takes file (x, y, z) to (z, y, -x)
    spans = {o.name: o.mesh.vertices.amax(0) - o.mesh.vertices.amin(0) for o in (flag, cup)}
    assert torch.allclose(spans["caf\xe9 cup"], torch.tensor([0.2, 1.0, 0.5]), atol=1e-6)
    assert torch.allclose(spans["flag"], torch.tensor([1.0, 0.2, 0.5]), atol=1e-6)
    assert torch.allclose(cup.mesh.rgb, torch.tensor([0.2, 0.4, 0.8]), atol=0.01)
