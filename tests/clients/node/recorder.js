// Put into a page before its own code: keeps what WebRTC brings, gives the microphone as it is
window.told = [];
window.peers = [];

window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...given) {
    super(...given);
    window.peers.push(this);
  }

  createDataChannel(...given) {
    const channel = super.createDataChannel(...given);
    channel.addEventListener('message', ({ data }) => window.told.push(JSON.parse(data)));
    return channel;
  }
};

// A recording has no echo to remove, and must arrive as it is.
const raw = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const getUserMedia = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = () => getUserMedia({ audio: raw });

/** How loud what was received has been so far: 0 is silence. */
window.receivedEnergy = async () => {
  const reports = [...(await window.peers[0].getStats()).values()];
  return reports.find((report) => report.type === 'inbound-rtp').totalAudioEnergy ?? 0;
};
