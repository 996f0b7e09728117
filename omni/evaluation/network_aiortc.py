"""aiortc as it comes, in a process of its own: sends back what it hears. For comparison.

Prints a line once it is up; then takes an SDP offer on a line of its standard input, as JSON, and
prints the answer likewise.
"""

import asyncio
import json
import sys
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription


async def main() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))

    def on_track(track: Any) -> None:
        connection.addTrack(track)

    connection.on("track", on_track)
    print("ready", flush=True)
    offer = await asyncio.to_thread(sys.stdin.readline)
    await connection.setRemoteDescription(RTCSessionDescription(json.loads(offer), "offer"))
    await connection.setLocalDescription(await connection.createAnswer())
    print(json.dumps(connection.localDescription.sdp), flush=True)
    await asyncio.to_thread(sys.stdin.readline)  # until its parent goes away
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
