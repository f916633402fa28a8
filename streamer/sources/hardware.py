"""Decoding on a GPU: ``gpu:URL`` on the first kind that works here, ``gpu+cuda.1:URL`` on one that is named.

Pictures come back into the processor's memory, as planes like all others.
"""

from __future__ import annotations

import logging

from av.codec import Codec
from av.codec.hwaccel import HWAccel
from av.error import FFmpegError

from engines.errors import InputError, nearest
from streamer.sources import SOURCES, Unavailable, kind_of
from streamer.sources.video import Video, open_file, open_network
from streamer.urls import redact

__all__ = ["find_decoder", "kinds", "open_gpu", "works"]

log = logging.getLogger(__name__)

USUAL = ("cuda", "videotoolbox", "d3d11va", "vaapi")  # those that `gpu:` tries, in this order
OPENERS = {"open_file": open_file, "open_network": open_network}


def open_gpu(url: str, name: str) -> Video:
    """Open a file or a stream of the network whose pictures a GPU decodes.

    What the GPU cannot decode, such as 4:4:4 of H.264, the processor decodes, and a line says so.

    Raises:
        InputError: the source is no video, or FFmpeg decodes on no such GPU.
        Unavailable: there is none here now, or the source is away.
    """
    word, _, inner = url.partition(":")
    opener = OPENERS.get(SOURCES.get(kind_of(inner), "").partition(":")[2])
    if opener is None:
        raise InputError(f"{redact(url)}: a GPU decodes video files and streams of the network only")
    video = opener(inner, name, find_decoder(word.partition("+")[2]))
    if video.info.pixel_format.startswith("yuv"):  # a GPU gives nv12 and its kin
        codec = video.info.codec
        log.warning("%s: the GPU does not decode this %s, the processor does", redact(inner), codec)
    return video


def find_decoder(device: str = "") -> HWAccel:
    """Return what has FFmpeg decode on a device, ``cuda`` or ``cuda.1``, by default on any that there is.

    Raises:
        InputError: FFmpeg knows no such kind of device; Unavailable: there is none here, or not now.
    """
    kind, _, number = device.lower().partition(".")
    known = kinds()
    if kind and kind not in known:
        raise InputError(f"gpu+{device}: {_unknown(kind, known)}")
    for each in [kind] if kind else [each for each in USUAL if each in known]:
        if works(each, number):
            return HWAccel(each, number or None, allow_software_fallback=True)
    said = f"gpu+{device}: no such device" if kind else f"gpu: no GPU (tried {', '.join(known) or 'none'})"
    raise Unavailable(f"{said} decodes here, the URL without that prefix would be right", lasting=True)


def kinds() -> list[str]:
    """Name the kinds of devices on which this FFmpeg can have H.264 decoded, there or not."""
    configs = Codec("h264", "r").hardware_configs
    return [config.device_type.name for config in configs if config.is_supported]


def works(kind: str, number: str = "") -> bool:
    """Tell whether a device is there and opens."""
    try:
        HWAccel(kind, number or None).create(Codec("h264", "r"))
    except (FFmpegError, ValueError):  # not there, or no number
        return False
    return True


def _unknown(kind: str, known: list[str]) -> str:
    if not known:
        return "this FFmpeg decodes on no GPU"
    hint = nearest(kind, known) or f", would be {', '.join(known)}"
    return f"this FFmpeg decodes on no {kind!r}{hint}"
