"""RTP of sound and RTCP: the bytes that the RFCs ask for, put together and taken apart by hand."""

from __future__ import annotations

import struct
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest

from streamer.audio import AudioPacket, AudioTrack
from streamer.sinks.rtcp import Sender
from streamer.sinks.rtp_sound import LARGEST, RtpSound, describe

AAC = AudioTrack("aac", 48_000, "stereo", Fraction(1, 48_000), bytes.fromhex("1190"))
OPUS = AudioTrack("opus", 48_000, "mono", Fraction(1, 1000), b"OpusHead")
ULAW = AudioTrack("pcm_mulaw", 8000, "mono", Fraction(1, 8000))


@pytest.mark.parametrize(
    ("track", "lines"),
    [
        (
            AAC,
            [
                "m=audio 0 RTP/AVP 97",
                "a=rtpmap:97 mpeg4-generic/48000/2",
                "a=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;"
                "indexdeltalength=3;config=1190",
            ],
        ),
        (OPUS, ["m=audio 0 RTP/AVP 97", "a=rtpmap:97 opus/48000/2", "a=fmtp:97 sprop-stereo=0"]),
        (ULAW, ["m=audio 0 RTP/AVP 0", "a=rtpmap:0 PCMU/8000/1"]),
        (replace(ULAW, codec="pcm_alaw"), ["m=audio 0 RTP/AVP 8", "a=rtpmap:8 PCMA/8000/1"]),
        (replace(ULAW, rate=16_000), ["m=audio 0 RTP/AVP 97", "a=rtpmap:97 PCMU/16000/1"]),
        (replace(AAC, extradata=b""), []),
        (replace(OPUS, layout="5.1"), []),
        (replace(AAC, codec="ac3"), []),
    ],
)
def test_a_track_is_described_as_its_rfc_says(track: AudioTrack, lines: list[str]) -> None:
    assert list(describe(track)) == lines


def _pack(track: AudioTrack, *pieces: AudioPacket) -> list[tuple[float, list[tuple[int, int, int, bytes]]]]:
    """Return seconds, and of each RTP packet: payload type with marker, number, time stamp, payload."""
    sound = RtpSound(track, b"name")
    return [
        (at, [(packet[1], *struct.unpack_from(">HI", packet, 2), packet[12:]) for packet in packets])
        for at, packets in sound.packets(pieces, 2.0, 2.0)
    ]


@pytest.mark.parametrize("size", [1, LARGEST - 4, LARGEST - 3, 3 * LARGEST, 8191])
def test_a_unit_of_aac_goes_alone_or_in_fragments_the_last_of_which_is_marked(size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    [(at, packets)] = _pack(AAC, AudioPacket(data, 1024, 1024, 1024))
    assert at == 2 + 1024 / 48_000
    assert b"".join(payload[4:] for *_, payload in packets) == data
    assert {payload[:4] for *_, payload in packets} == {struct.pack(">HH", 16, size << 3)}
    assert [first for first, *_ in packets] == [97] * (len(packets) - 1) + [0x80 | 97]
    assert len({stamp for _, _, stamp, _ in packets}) == 1
    assert max(len(payload) for *_, payload in packets) <= LARGEST
    assert {(later - number) % 65_536 for (_, number, *_), (_, later, *_) in pairwise(packets)} <= {1}


def test_g711_is_cut_and_each_part_has_its_own_time() -> None:
    data = bytes(index % 251 for index in range(2 * LARGEST + 100))
    [(_, packets)] = _pack(ULAW, AudioPacket(data, 0, 0, len(data)))
    assert b"".join(payload for *_, payload in packets) == data
    assert [first for first, *_ in packets] == [0, 0, 0]
    stamps = [stamp for _, _, stamp, _ in packets]
    assert [(later - stamp) % (1 << 32) for stamp, later in pairwise(stamps)] == [LARGEST, LARGEST]


def test_opus_counts_48000_ticks_whatever_the_source_does() -> None:
    pieces = [AudioPacket(b"x" * 1500, at, at, 20) for at in (0, 20, 40)]
    packed = _pack(OPUS, *pieces)
    assert [at for at, _ in packed] == pytest.approx([2.0, 2.02, 2.04])
    stamps = [packets[0][2] for _, packets in packed]
    assert [(later - stamp) % (1 << 32) for stamp, later in pairwise(stamps)] == [960, 960]
    assert [payload for _, packets in packed for *_, payload in packets] == [b"x" * 1500] * 3


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        ([0, 1024, 1024, 2048], [0, 1024, 2048]),
        ([0, 2048, 1024, 3072], [0, 2048, 3072]),
        ([0, 48_000 * 50_000, 1024], [0, 1024]),
        ([0, -48_000 * 60, 1024], [0, 1024]),
    ],
    ids=["twice", "back", "far ahead", "far behind"],
)
def test_what_goes_back_in_time_or_is_far_from_its_picture_is_left_out(
    pieces: list[int], kept: list[int]
) -> None:
    packed = _pack(AAC, *(AudioPacket(b"x", pts, pts, 1024) for pts in pieces))
    assert [round((at - 2) * 48_000) for at, _ in packed] == kept


def test_more_than_rfc_3640_can_tell_is_left_out() -> None:
    assert _pack(AAC, AudioPacket(bytes(8192), 0, 0, 1024)) == [(2.0, [])]


def test_a_report_says_which_time_stamp_was_when() -> None:
    sender = Sender(48_000, b"cam", source=7, stamp=1000)
    assert struct.unpack_from(">I", sender.report(0.5, 0.0), 16) == (1000 + 24_000,)
    packets = [struct.pack(">BBHII", 0x80, 97, number, 0xFFFFFF00, 0xABCD) + b"12345" for number in (1, 2)]
    sender.note(10.0, packets)
    report = sender.report(10.01, 1.75)
    assert struct.unpack_from(">BBHIIIIII", report) == (
        0x80,
        200,
        6,
        0xABCD,
        2_208_988_801,
        3 << 30,
        480 - 256,
        2,
        10,
    )
    assert struct.unpack(">BBHIBB3s", report[28:41]) == (0x81, 202, 3, 0xABCD, 1, 3, b"cam")
    assert report[41:] == bytes(3)
    assert len(report) % 4 == 0
