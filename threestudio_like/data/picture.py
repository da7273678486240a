"""A user's picture: read in whatever form it comes, cut out, recentred in a square.

Pictures are `H W 4` floats in [0, 1], straight alpha. Resampling is done on colours multiplied by alpha,
so that what lies behind the object never bleeds into its rim.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from PIL import EpsImagePlugin, Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from threestudio_like.ops.texture import fill

FEWEST = 16  # pixels of an object
# what is read, whatever the file is called; all of it by Pillow itself, which has EPS drawn by Ghostscript
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "TGA")
Image.ID[:] = [each for each in Image.ID if each != EpsImagePlugin.EpsImageFile.format]  # nor by trimesh
DAMAGES = (OSError, SyntaxError, EOFError, ValueError, RuntimeError, MemoryError)  # Pillow's, on bad bytes
Matte = Callable[[Tensor], Tensor]  # rgb [H W 3] to alpha [H W 1]


def read(path: Path, max_pixels: int, max_side: int) -> Float[Tensor, "H W 4"]:
    """The first frame of a file, set upright, at most `max_side` pixels a side; alpha 1 if it has none."""
    picture = decoded(path, max_pixels, key="image", upright=True)
    picture.thumbnail((max_side, max_side), Image.Resampling.BOX)
    return values(picture)


def values(picture: Image.Image) -> Float[Tensor, "H W 4"]:
    """The numbers of what was decoded; alpha 1 if it has none."""
    found = torch.from_numpy(np.array(picture, dtype=np.float32) / 255)
    return found if found.shape[-1] == 4 else torch.cat([found, torch.ones_like(found[..., :1])], dim=-1)


def decoded(path: Path, max_pixels: int, *, key: str, upright: bool) -> Image.Image:
    """The first frame as RGB or RGBA of 8 bits, in sRGB, turned as its EXIF says if `upright`.

    ValueError, beginning with `key`, says what is wrong with the file.
    """
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "is a device" if path.exists() else ""
        raise ValueError(f"{key}: {str(path)!r} {f'{kind}; expected a picture' if kind else 'is not there'}")
    if not path.stat().st_size:
        raise ValueError(f"{key}: {str(path)!r} is an empty file; expected a picture")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on size and metadata; the limit below is ours
        try:
            with Image.open(path, formats=FORMATS) as opened:
                if opened.width * opened.height > max_pixels:
                    raise Image.DecompressionBombError
                return _in_srgb(_eight_bits(ImageOps.exif_transpose(opened) if upright else opened))
        except Image.DecompressionBombError:
            limit = f"{max_pixels / 1e6:g} megapixels"
            raise ValueError(f"{key}: {str(path)!r} is too large; expected at most {limit}") from None
        except UnidentifiedImageError:
            raise ValueError(f"{key}: {str(path)!r} is not a picture; expected PNG, JPEG, WebP…") from None
        except DAMAGES as error:
            raise ValueError(f"{key}: {str(path)!r} cannot be read to its end ({_line(error)})") from None


def _line(error: Exception) -> str:
    """What a library says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _in_srgb(picture: Image.Image) -> Image.Image:
    """Colours as sRGB has them, where the file brings a profile of its own; a damaged one says nothing."""
    profile = picture.info.get("icc_profile")
    if profile:
        with suppress(ImageCms.PyCMSError, OSError):
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            mode = "RGB" if picture.mode == "CMYK" else picture.mode
            picture = ImageCms.profileToProfile(picture, source, srgb, outputMode=mode) or picture
    return picture if picture.mode in ("RGB", "RGBA") else picture.convert("RGB")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """RGB, CMYK or RGBA of 8 bits, from any mode; grey of more bits is scaled by its range, never clipped."""
    if picture.mode.startswith(("I", "F")):
        grey = np.nan_to_num(np.asarray(picture, dtype=np.float64))
        spans = (1.0, 255.0) if picture.mode == "F" else ()  # floats say what they are by their size
        span = next((span for span in spans if grey.max() <= span), 65535.0)
        picture = Image.fromarray((255 * (grey / span).clip(0, 1)).round().astype(np.uint8))
    if picture.mode == "CMYK" and "icc_profile" in picture.info:
        picture.load()
        return picture  # its profile is of inks
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def cutout(
    picture: Float[Tensor, "H W 4"], matting: Matte, *, name: str, threshold: float
) -> Float[Tensor, "H W 4"]:
    """The picture with its own alpha, or with the matte of its object if it is opaque everywhere.

    A matte's rim is a mix of object and background, so its colours are taken from the object's inside.
    """
    rgb, alpha = picture[..., :3], picture[..., 3:]
    if alpha.max() <= threshold:
        raise ValueError(f"image: {name!r} is transparent everywhere; expected an object")
    if alpha.min() < 0.98:
        _check_area(alpha, name=name, threshold=threshold)
        return picture
    alpha = matting(rgb)
    if alpha.max() <= threshold:
        raise ValueError(f"image: no object found in {name!r}; expected one object, or a picture with alpha")
    _check_area(alpha, name=name, threshold=threshold)
    inside = alpha[..., 0] > 0.95
    return torch.cat([torch.where(inside[..., None], rgb, fill(rgb, inside, 8)), alpha], dim=-1)


def _check_area(alpha: Float[Tensor, "H W 1"], *, name: str, threshold: float) -> None:
    count = int((alpha > threshold).sum())
    if count < FEWEST:
        raise ValueError(f"image: the object in {name!r} has {count} pixels; expected at least {FEWEST}")


def recentred(
    picture: Float[Tensor, "H W 4"], *, size: int, share: float, threshold: float
) -> Float[Tensor, "size size 4"]:
    """The object's bounding box in the middle of a square, its longest side `share` of the square's."""
    rows, columns = (_extent(picture[..., 3] > threshold, dim) for dim in (1, 0))
    cropped = picture[rows, columns]
    height, width = cropped.shape[:2]
    scale = share * size / max(height, width)
    new = [max(1, round(side * scale)) for side in (height, width)]
    top, left = (size - new[0]) // 2, (size - new[1]) // 2
    return F.pad(resized(cropped, *new), (0, 0, left, size - left - new[1], top, size - top - new[0]))


def _extent(mask: Bool[Tensor, "H W"], dim: int) -> slice:
    hit = mask.any(dim).nonzero()
    return slice(int(hit[0]), int(hit[-1]) + 1)


def resized(picture: Float[Tensor, "h w 4"], height: int, width: int) -> Float[Tensor, "H W 4"]:
    """Means of areas when it shrinks by a whole number; else bilinear, smoothed as it shrinks."""
    alpha = picture[..., 3:]
    planes = torch.cat([picture[..., :3] * alpha, alpha], dim=-1).permute(2, 0, 1)[None]
    if planes.shape[2] % height == 0 and planes.shape[3] % width == 0:
        planes = F.avg_pool2d(planes, (planes.shape[2] // height, planes.shape[3] // width))
    else:
        planes = F.interpolate(planes, (height, width), mode="bilinear", antialias=True, align_corners=False)
    premultiplied, alpha = planes[0].permute(1, 2, 0).clamp(0, 1).split([3, 1], dim=-1)
    return torch.cat([(premultiplied / alpha.clamp(min=1e-4)).clamp(0, 1), alpha], dim=-1)


def remarks(alpha: Float[Tensor, "H W 1"]) -> list[str]:
    """What a user may want to know about a cut-out: no cut, one that leaves the picture, several."""
    mask = alpha[..., 0] > 0.5
    found = []
    if mask.float().mean() > 0.98:
        return ["the cut-out is the whole picture: give one with alpha, or with a plain background"]
    border = torch.cat([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if border.float().mean() > 0.02:
        found.append("the object touches the picture's border: what lies beyond it is not known")
    sizes = components(F.adaptive_max_pool2d(mask[None, None].float(), 96)[0, 0] > 0)
    if len(sizes) > 1 and sizes[1] > 0.05 * sizes[0]:
        found.append("the cut-out has several separate pieces: give a picture with alpha if that is wrong")
    return found


def components(mask: Bool[Tensor, "H W"]) -> list[int]:
    """Sizes of the 8-connected pieces, largest first: the highest index in a piece floods it."""
    label = torch.arange(1, mask.numel() + 1, dtype=torch.float32).view(1, 1, *mask.shape) * mask
    while True:
        flooded = F.max_pool2d(label, 3, stride=1, padding=1) * mask
        if torch.equal(flooded, label):
            break
        label = flooded
    return sorted((int(count) for count in label[label > 0].unique(return_counts=True)[1]), reverse=True)
