"""What aiortc leaves out of an offer's answer: media of which it knows no codec, Opus's parameters.

Law: an answer has the offer's media in their order, refused ones with port 0 (RFC 3264, section 6).
"""

import re
from typing import Final

from aiortc.codecs import CODECS
from aiortc.rtcpeerconnection import find_common_codecs
from aiortc.sdp import SessionDescription

# aiortc answers without them: a browser would send us no FEC (RFC 7587).
_OPUS: Final = re.compile(r"a=rtpmap:(\d+) opus/48000/2\r\n")
_OPUS_TERMS: Final = r"\g<0>a=fmtp:\1 minptime=10;useinbandfec=1;stereo=0;sprop-stereo=0\r\n"
# aiortc says 64 KiB, too little for a photo, but takes what browsers can send.
MAX_MESSAGE_BYTES: Final = 256 << 10
_MAX_MESSAGE: Final = re.compile(r"(a=max-message-size:)\d+")
_MEDIA: Final = re.compile(r"^(?=m=)", re.MULTILINE)
_MID: Final = re.compile(r"^a=mid:(\S+)", re.MULTILINE)
_LINE: Final = re.compile(r"m=(\w+) \d+ (\S+) (.+?)\r?\n")


class Offer:
    """An SDP offer. `known` is what of it aiortc can be given: the media it has a codec for."""

    def __init__(self, sdp: str) -> None:
        head, *media = _MEDIA.split(sdp)
        self._refused = {
            place: section
            for place, section in enumerate(media)
            if section[:7] in ("m=video", "m=audio") and not _is_known(head + section)
        }
        for section in self._refused.values():
            if mid := _MID.search(section):
                head = re.sub(rf"(?m)^(a=group:BUNDLE.*?) {re.escape(mid[1])}(?=\s|$)", r"\1", head)
        kept = [section for place, section in enumerate(media) if place not in self._refused]
        self.known = head + "".join(kept)

    def answer(self, sdp: str) -> str:
        """aiortc's answer to what is known, as the answer to the whole offer."""
        sdp = _MAX_MESSAGE.sub(rf"\g<1>{MAX_MESSAGE_BYTES}", _OPUS.sub(_OPUS_TERMS, sdp))
        head, *media = _MEDIA.split(sdp)
        for place, section in sorted(self._refused.items()):
            media.insert(place, _refusal(section))
        return head + "".join(media)


def _is_known(sdp: str) -> bool:
    """Whether aiortc has a codec for an SDP's only medium; what it cannot read it may refuse."""
    try:
        (media,) = SessionDescription.parse(sdp).media
        return bool(find_common_codecs(CODECS[media.kind], media.rtp.codecs))
    except (ValueError, KeyError, IndexError, AssertionError):
        return True


def _refusal(section: str) -> str:
    line, mid = _LINE.match(section), _MID.search(section)
    kind, protocol, formats = line.groups() if line else ("video", "UDP/TLS/RTP/SAVPF", "0")
    name = f"a=mid:{mid[1]}\r\n" if mid else ""
    return f"m={kind} 0 {protocol} {formats}\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n{name}"
