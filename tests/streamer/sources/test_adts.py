"""ADTS: a packet's head becomes what other containers tell once, as FFmpeg's own filter has it."""

from __future__ import annotations

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext

from streamer.sources import adts

from .conftest import Film


def test_config_and_content_are_those_of_ffmpeg(film: Film):
    found = 0
    with av.open(str(film("a.ts", sound=0.5))) as container:
        stream = container.streams.audio[0]
        by_ffmpeg = BitStreamFilterContext("aac_adtstoasc", stream)
        for packet in container.demux(stream):
            if not packet.size:
                continue
            config, content = adts.unwrap(bytes(packet))
            (bare,) = by_ffmpeg.filter(packet)
            assert content == bytes(bare)
            if not found:
                assert config == bytes(bare.get_sidedata("new_extradata"))
            found += 1
    assert found > 20


def test_a_checksum_belongs_to_the_head():
    head = bytearray.fromhex("fff15080017ffc")
    head[1] &= 0xFE
    assert adts.unwrap(bytes(head) + b"\x12\x34sound")[1] == b"sound"


BAD = {
    "nothing": b"",
    "a head without content": bytes.fromhex("fff15040213ffc"),
    "no head": bytes(20),
    "a layer of MPEG audio": bytes.fromhex("fffd5040213ffc") + bytes(9),
    "channels told elsewhere": bytes.fromhex("fff15000213ffc") + bytes(9),
    "a rate that is none": bytes.fromhex("fff17c40213ffc") + bytes(9),
    "several blocks": bytes.fromhex("fff15040213ffd") + bytes(9),
}


@pytest.mark.parametrize("case", BAD)
def test_what_a_config_cannot_tell_is_refused(case: str):
    with pytest.raises(ValueError, match="ADTS"):
        adts.unwrap(BAD[case])


def test_noise_is_refused_or_unwrapped_but_never_worse():
    rng = np.random.default_rng(1)
    for _ in range(500):
        noise = bytearray(rng.bytes(int(rng.integers(0, 12))))
        noise[:1] = b"\xff"
        try:
            config, content = adts.unwrap(bytes(noise))
        except ValueError:
            continue
        assert len(config) == 2
        assert bytes(noise).endswith(content)
