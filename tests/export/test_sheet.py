"""Contact sheets: every picture in its place, grey where there is none."""

from PIL import Image

from threestudio_like.export.sheet import write_sheet


def test_pictures_are_where_their_names_are(tmp_path):
    for name in ("red", "blue"):
        Image.new("RGB", (40, 20), name).save(tmp_path / f"{name}.png")
    pictures = {
        ("a", "x"): tmp_path / "red.png",
        ("b", "y"): tmp_path / "blue.png",
        ("b", "x"): tmp_path / "no",
    }
    write_sheet(tmp_path / "sheet.png", pictures, ["a", "b"], ["x", "y"], 10)
    sheet = Image.open(tmp_path / "sheet.png")
    colours = dict((colour, count) for count, colour in sheet.getcolors(10**4))
    assert colours[(255, 0, 0)] == colours[(0, 0, 255)] == 200  # 20 by 10 each
    assert colours[(230, 230, 230)] == 400
    found = [(sheet.getpixel((x, y))) for y in (20, 34) for x in (sheet.width - 40, sheet.width - 14)]
    assert found == [(255, 0, 0), (230, 230, 230), (230, 230, 230), (0, 0, 255)]
