"""Convert a user's images or point clouds to samples as the data pipeline makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from care.config import DataConfig
from care.data.dataset import resize_images
from care.data.decoding import center_square, to_rgb
from care.errors import ConfigError, Problem

Images = Tensor | Image.Image | Sequence[Image.Image]
"""uint8 [N,3,H,W] or [3,H,W], one PIL image or several; or point clouds, float32 [N,P,4]."""

_IMAGES = (
    "allowed: a uint8 tensor [N,3,H,W] or [3,H,W], a PIL image or a list of them; "
    "normalized floats go into .network"
)
_POINTS = "allowed: a float32 tensor [N,P,4] or [P,4] of x, y, z in nanometers and a mask, 0 or 1"
_CHANNELS, _COLUMNS = 3, 4


def to_samples(inputs: Images, data: DataConfig, size: tuple[int, int] | None) -> Tensor:
    """Convert inputs to uint8 [N,3,H,W] of the trial's size, or to point clouds [N,P,4].

    PIL images of any mode become RGB (:func:`care.data.decoding.to_rgb`). Square images are resized
    as the data set's are. Of others the shorter side is resized and the center cropped.

    Args:
        inputs: Images or point clouds.
        data: Configuration of the trial's data set.
        size: Height and width of the trial's images in pixels; None for point clouds.

    Raises:
        ConfigError: Another type, dtype or shape; states what is allowed.
    """
    if size is None:
        return _check_points(inputs)
    if isinstance(inputs, Tensor):
        return _fit(_check_images(inputs, size), size)
    pictures = [inputs] if isinstance(inputs, Image.Image) else inputs
    if not isinstance(pictures, Sequence) or isinstance(pictures, str | bytes):
        _refuse(_describe(inputs), _IMAGES)
    if not pictures:
        _refuse("no image", _IMAGES)
    for index, picture in enumerate(pictures):
        if not isinstance(picture, Image.Image):
            _refuse(_describe(picture), _IMAGES, f"images[{index}]")
    return torch.cat([_decode(picture, data, size) for picture in pictures])


def _decode(picture: Image.Image, data: DataConfig, size: tuple[int, int]) -> Tensor:
    """Decode one picture to uint8 [1,3,H,W]."""
    try:
        rgb = to_rgb(picture)
    except (OSError, ValueError, SyntaxError) as error:  # PIL reads a file's pixels at first use
        _refuse(f"an image of mode {picture.mode}", f"allowed: an image that can be read ({error})")
    height, width = size
    is_square = rgb.width == rgb.height
    if height == width and (data.source.decoded or not is_square):
        rgb = center_square(rgb, height)
    pixels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None]
    return _fit(_check_images(pixels, size), size)


def _fit(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize checked images [N,3,H,W] unless they have the trial's size."""
    return images if tuple(images.shape[-2:]) == size else resize_images(images, size[0])


def _check_images(images: Tensor, size: tuple[int, int]) -> Tensor:
    if images.dtype != torch.uint8 or images.dim() not in (3, 4):
        _refuse(_describe(images), _IMAGES)
    images = images[None] if images.dim() == 3 else images
    if images.shape[1] != _CHANNELS:
        _refuse(_describe(images), f"{_IMAGES}; of gray images repeat the channel three times")
    if not images.numel():
        _refuse(_describe(images), f"{_IMAGES}; one image or more")
    height, width = images.shape[-2:]
    if (height, width) != size and (height != width or size[0] != size[1]):
        own = f"{size[0]} × {size[1]}"
        square = ", or square ones, which are resized" if size[0] == size[1] else ""
        allowed = f"allowed: images of {own} pixels, as in the training{square}; or PIL images"
        _refuse(_describe(images), allowed)
    return images


def _check_points(points: object) -> Tensor:
    if not isinstance(points, Tensor) or points.dtype != torch.float32:
        _refuse(_describe(points), _POINTS)
    clouds = points[None] if points.dim() == 2 else points
    if clouds.dim() != 3 or clouds.shape[2] != _COLUMNS or not clouds.numel():
        _refuse(_describe(points), _POINTS)
    mask = clouds[..., 3]
    if not clouds.isfinite().all() or not ((mask == 0) | (mask == 1)).all():
        _refuse("values that are not finite, or a mask other than 0 and 1", _POINTS)
    if not mask.any(1).all():
        _refuse("a cloud without a point", _POINTS)
    return clouds


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor {list(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} numpy array {list(value.shape)}"
    return f"a {type(value).__name__}"


def _refuse(value: str, allowed: str, field: str = "images") -> NoReturn:
    raise ConfigError("encoder", [Problem(field, value, allowed)])
