"""Pictures: what counts as one, and where they come from: a file, a folder, or frames spread over a video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.errors import InputError

__all__ = ["check_picture", "read_picture", "read_pictures"]

Picture = NDArray[np.uint8]

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}


def check_picture(image: object, where: str) -> None:
    """Raise InputError for what is no (H, W, 3) uint8; ``where`` says which one it is."""
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
            return
        seen = f"{image.dtype} {image.shape}"
    else:
        seen = "None" if image is None else type(image).__name__
    raise InputError(f"{where}: {seen}, an RGB picture of uint8 (height, width, 3) is right")


def read_pictures(path: Path, limit: int) -> Iterator[tuple[str, Picture]]:
    """Return at most ``limit`` (name, (H, W, 3) uint8 RGB), read one by one.

    Raises InputError, some of them not before the first is asked for, where there is none to read.
    """
    if limit < 1:
        raise InputError(f"pictures: {limit}, 1 or more is right")
    if not path.exists():
        raise InputError(f"{path}: no such file, a picture, a folder of pictures or a video is needed")
    return _read(path, limit)


def _read(path: Path, limit: int) -> Iterator[tuple[str, Picture]]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)
        if not files:
            raise InputError(f"{path}: no pictures in this folder ({', '.join(sorted(_SUFFIXES))})")
        step = max(len(files) // limit, 1)
        for file in files[::step][:limit]:
            yield file.name, read_picture(file)
    elif path.suffix.lower() in _SUFFIXES:
        yield path.name, read_picture(path)
    else:
        yield from _frames(path, limit)


def read_picture(path: Path) -> Picture:
    """Read one file as (H, W, 3) uint8 RGB. Raises InputError where it is none."""
    import cv2

    if not path.is_file():
        raise InputError(f"{path}: no such file, a picture is needed")
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError(f"{path}: not a picture that can be read")
    return np.ascontiguousarray(pixels[..., ::-1])


def _frames(path: Path, limit: int) -> Iterator[tuple[str, Picture]]:
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: no video in this file")
            stream = container.streams.video[0]
            step = max(stream.frames // limit, 1)
            for number, frame in enumerate(container.decode(stream)):
                if number // step >= limit:
                    return
                if number % step == 0:
                    yield f"{path.name}#{number}", np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except av.FFmpegError as error:
        raise InputError(f"{path}: not a picture or video that can be read: {error.strerror}") from error
