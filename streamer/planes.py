"""Planes in, planes out: between decoded video frames, native YUV planes and RGB pictures of any size.

Pictures are scaled plane by plane and the small result is converted, so a large frame is never converted as a
whole. RGB is R'G'B' 0..255 by the matrices of ITU-R BT.601, BT.709 and BT.2020 (non-constant luminance).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.frame import Matrix, Planes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import av
    from av.video.plane import VideoPlane

__all__ = [
    "copy",
    "crop",
    "from_bgr",
    "from_rgb",
    "from_video_frame",
    "orient",
    "scale",
    "scale_rgb",
    "to_rgb",
    "to_video_frame",
]

Picture = NDArray[np.uint8]

# Weights of red and blue in luma: BT.601 section 2.5.1, BT.709 section 3.2, BT.2020 table 4.
LUMA: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}

# FFmpeg's pixel formats whose first three planes are what Planes holds; the name written is without the j.
NATIVE = {"yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p"}
NATIVE |= {"yuva420p", "yuva422p", "yuva444p"}
FORMATS = {(2, 2): "yuv420p", (2, 1): "yuv422p", (1, 1): "yuv444p"}
FORMATS[1, 2] = "yuv420p"  # one pixel wide: of it no plane is narrower

# AVColorSpace (ITU-T H.273 table 4). FCC is BT.601 to 1 %, SMPTE 240M is nearest to BT.709.
MATRICES: dict[int, Matrix] = {
    1: "bt709",
    4: "bt601",
    5: "bt601",
    6: "bt601",
    7: "bt709",
    9: "bt2020",
    10: "bt2020",
}
TAGS: dict[Matrix, int] = {"bt601": 6, "bt709": 1, "bt2020": 9}
LIMITED, FULL = 1, 2  # AVColorRange
HD_HEIGHT = 720  # untagged video from this height on is taken for BT.709, below for BT.601

# EXIF orientation (CIPA DC-008, tag 0x0112) -> whether to transpose, then the way to flip, as cv2.flip says.
NO_FLIP = 2
ORIENTATIONS = {
    2: (False, 1),
    3: (False, -1),
    4: (False, 0),
    5: (True, NO_FLIP),
    6: (True, 1),
    7: (True, -1),
    8: (True, 0),
}


def scale_rgb(planes: Planes, out: Picture) -> None:
    """Write the picture as RGB, scaled bilinearly to fill ``out``, (h, w, 3) uint8.

    ``out`` may be a view into a larger array as long as the pixels of a row are contiguous. Equal, to
    rounding, to converting the whole picture and scaling it with OpenCV's INTER_LINEAR.
    """
    size = (out.shape[1], out.shape[0])
    channels = [_resize(plane, size) for plane in (planes.y, planes.u, planes.v)]
    cv2.transform(cv2.merge(channels), _yuv_to_rgb(planes.matrix, planes.full_range), dst=out)


def to_rgb(planes: Planes) -> Picture:
    """Return the picture as (H, W, 3) uint8 RGB, chroma interpolated bilinearly."""
    width, height = planes.size
    out = np.empty((height, width, 3), np.uint8)
    scale_rgb(planes, out)
    return out


def from_rgb(
    rgb: Picture,
    *,
    subsampling: tuple[int, int] = (1, 1),
    matrix: Matrix = "bt601",
    full_range: bool = True,
) -> Planes:
    """Return (H, W, 3) uint8 RGB as planes that may be drawn on; a chroma sample averages what it covers."""
    height, width = rgb.shape[:2]
    planes = _empty(width, height, subsampling, matrix, full_range)
    y, u, v = cv2.split(cv2.transform(rgb, _rgb_to_yuv(matrix, full_range)))
    np.copyto(planes.y, y)
    for plane, whole in ((planes.u, u), (planes.v, v)):
        _average(whole, subsampling, plane)
    return planes


def from_bgr(bgr: Picture) -> Planes:
    """Return (H, W, 3) uint8 BGR, OpenCV's order, as 4:2:0 BT.601 limited planes that may be drawn on.

    As `from_rgb` would, to rounding, but only luma is made at full size: by OpenCV's integer conversion,
    whose own chroma is that of one pixel in four.
    """
    height, width = bgr.shape[:2]
    if height % 2 or width % 2:
        bgr = cv2.copyMakeBorder(bgr, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    planes = _empty(width, height, (2, 2), "bt601", False)
    np.copyto(planes.y, cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)[:height, :width])
    quarter = cv2.resize(bgr, planes.u.shape[::-1], interpolation=cv2.INTER_AREA)
    _, u, v = cv2.split(cv2.transform(quarter, _rgb_to_yuv("bt601", False)[:, [2, 1, 0, 3]]))
    np.copyto(planes.u, u)
    np.copyto(planes.v, v)
    return planes


def copy(planes: Planes) -> Planes:
    """Return the same picture in memory of its own, an `av.VideoFrame`'s, that may be drawn on."""
    width, height = planes.size
    result = _empty(width, height, planes.subsampling, planes.matrix, planes.full_range)
    np.copyto(result.y, planes.y)
    np.copyto(result.u, planes.u)
    np.copyto(result.v, planes.v)
    return result


def crop(planes: Planes, rect: tuple[int, int, int, int]) -> Planes:
    """Return a part of the picture, x1 y1 x2 y2 in pixels, as views of its planes; x1 and y1 are even."""
    x1, y1, x2, y2 = rect
    sx, sy = planes.subsampling
    rows, columns = slice(y1 // sy, -(-y2 // sy)), slice(x1 // sx, -(-x2 // sx))
    luma = planes.y[y1:y2, x1:x2]
    chroma = planes.u[rows, columns], planes.v[rows, columns]
    return Planes(luma, *chroma, planes.matrix, planes.full_range, planes.owner)


def from_video_frame(frame: av.VideoFrame) -> Planes:
    """Return a decoded frame's planes, read-only: 8-bit planar 4:2:0, 4:2:2, 4:4:4 kept, others converted.

    Other YUV goes to the 8-bit format that keeps its chroma, the rest (RGB, grey) to 4:4:4 full range. Tags
    of matrix and range are honoured; without them 720 lines and more are BT.709, fewer are BT.601, and the
    range is limited but for FFmpeg's yuvj formats. Rotation and sample aspect are not applied here.
    """
    planes = frame.planes
    if frame.format.name not in NATIVE or planes[0].line_size < 0:
        target = _nearest_format(frame)
        if not target:
            return from_rgb(np.ascontiguousarray(frame.to_ndarray(format="rgb24")))
        matrix, full_range = _matrix(frame), _is_full_range(frame)
        frame = frame.reformat(format=target)
        return _decoded(frame, frame.planes, matrix, full_range)
    return _decoded(frame, planes, _matrix(frame), _is_full_range(frame))


def to_video_frame(planes: Planes) -> av.VideoFrame:
    """Return a frame of these planes for an encoder, tagged with their matrix and range.

    It is ``planes.owner`` itself where that holds exactly these planes, and a copy elsewhere. Encoders that
    take the same planes share that frame: one at a time may stamp and encode it.
    """
    frame = planes.owner
    if not _holds(frame, planes):
        frame = copy(planes).owner
    frame.colorspace = TAGS[planes.matrix]  # type: ignore[attr-defined]
    frame.color_range = FULL if planes.full_range else LIMITED  # type: ignore[attr-defined]
    return frame  # type: ignore[return-value]


def orient(planes: Planes, orientation: int) -> Planes:
    """Return the picture turned and mirrored as its EXIF orientation, 1 to 8, asks for.

    1 is upright already, 3 upside down, 6 and 8 need a quarter turn clockwise and counter-clockwise; the
    others are mirrored too. 4:2:2 on its side becomes 4:4:4.
    """
    if orientation not in ORIENTATIONS:
        return planes
    transposed, flip = ORIENTATIONS[orientation]
    if transposed and planes.subsampling == (2, 1):
        planes = _whole_chroma(planes)
    width, height = planes.size[::-1] if transposed else planes.size
    result = _empty(width, height, planes.subsampling, planes.matrix, planes.full_range)
    for plane, out in ((planes.y, result.y), (planes.u, result.u), (planes.v, result.v)):
        turned = cv2.transpose(plane) if transposed else plane
        np.copyto(out, turned if flip == NO_FLIP else cv2.flip(turned, flip))
    return result


def scale(planes: Planes, size: tuple[int, int]) -> Planes:
    """Return the picture scaled bilinearly to ``size`` (width, height), its subsampling kept."""
    if size == planes.size:
        return planes
    result = _empty(*size, planes.subsampling, planes.matrix, planes.full_range)
    for source, target in ((planes.y, result.y), (planes.u, result.u), (planes.v, result.v)):
        cv2.resize(source, target.shape[::-1], dst=target)
    return result


def _resize(plane: Picture, size: tuple[int, int]) -> Picture:
    if plane.shape == size[::-1]:
        return plane
    resized: Picture = cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)
    return resized


def _average(whole: Picture, subsampling: tuple[int, int], out: Picture) -> None:
    sx, sy = subsampling
    height, width = out.shape
    bottom, right = height * sy - whole.shape[0], width * sx - whole.shape[1]
    if bottom or right:
        whole = cv2.copyMakeBorder(whole, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    cv2.resize(whole, (width, height), dst=out, interpolation=cv2.INTER_AREA)


def _whole_chroma(planes: Planes) -> Planes:
    size = planes.size
    return Planes(
        planes.y,
        _resize(planes.u, size),
        _resize(planes.v, size),
        planes.matrix,
        planes.full_range,
        planes.owner,
    )


@lru_cache
def _yuv_to_rgb(matrix: Matrix, full_range: bool) -> NDArray[np.float64]:
    """Return the (3, 4) matrix that takes (Y, U, V, 1) in 0..255 to (R, G, B) in 0..255."""
    forward = _rgb_to_yuv(matrix, full_range)
    inverse = np.linalg.inv(forward[:, :3])
    return np.hstack([inverse, -inverse @ forward[:, 3:]])


@lru_cache
def _rgb_to_yuv(matrix: Matrix, full_range: bool) -> NDArray[np.float64]:
    """Return the (3, 4) matrix that takes (R, G, B, 1) in 0..255 to (Y, U, V) in 0..255."""
    red, blue = LUMA[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    u = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    v = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    if full_range:
        return np.column_stack([[luma, u, v], [0, 128, 128]])
    return np.column_stack([[luma * 219 / 255, u * 224 / 255, v * 224 / 255], [16, 128, 128]])


def _empty(width: int, height: int, subsampling: tuple[int, int], matrix: Matrix, full_range: bool) -> Planes:
    import av

    frame = av.VideoFrame(width, height, FORMATS[subsampling])
    y, u, v = map(_view, frame.planes)
    return Planes(y, u, v, matrix, full_range, frame)


def _decoded(frame: av.VideoFrame, planes: Sequence[VideoPlane], matrix: Matrix, full_range: bool) -> Planes:
    y, u, v = _view(planes[0]), _view(planes[1]), _view(planes[2])
    for plane in (y, u, v):
        plane.setflags(write=False)  # the decoder predicts later pictures from this memory
    return Planes(y, u, v, matrix, full_range, frame)


def _view(plane: VideoPlane) -> Picture:
    size, strides = (plane.height, plane.width), (plane.line_size, 1)
    return np.ndarray(size, np.uint8, plane, 0, strides)  # type: ignore[arg-type]


def _holds(frame: object, planes: Planes) -> bool:
    """Tell whether this is the video frame whose memory, all of it, the planes are."""
    import av

    if not isinstance(frame, av.VideoFrame) or frame.format.name != FORMATS[planes.subsampling]:
        return False
    y, u, v = frame.planes
    return _is_at(planes.y, y) and _is_at(planes.u, u) and _is_at(planes.v, v)


def _is_at(array: Picture, plane: VideoPlane) -> bool:
    """Tell whether `_view` has made the array of this plane; one cut out of it has another base."""
    made_of = getattr(array.base, "buffer_ptr", 0)
    return bool(made_of == plane.buffer_ptr) and array.shape == (plane.height, plane.width)


def _matrix(frame: av.VideoFrame) -> Matrix:
    return MATRICES.get(frame.colorspace, "bt709" if frame.height >= HD_HEIGHT else "bt601")


def _is_full_range(frame: av.VideoFrame) -> bool:
    return frame.color_range == FULL or frame.format.name.startswith("yuvj")


def _nearest_format(frame: av.VideoFrame) -> str:
    """Name the 8-bit planar YUV format that keeps this frame's chroma, or "" where it holds no YUV."""
    form = frame.sw_format or frame.format
    if form.is_rgb or len(form.components) < 3 or form.name.startswith(("pal8", "xyz", "bayer")):
        return ""
    luma, chroma = form.components[:2]
    wide, tall = luma.width > chroma.width, luma.height > chroma.height
    return FORMATS[(2, 2) if wide and tall else (2, 1) if wide else (1, 1)]
