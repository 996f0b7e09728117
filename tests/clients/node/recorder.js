// Put into a page before its own code: keeps what WebRTC brings
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

/** How loud what was received has been so far: 0 is silence. */
window.receivedEnergy = async () => {
  const reports = [...(await window.peers[0].getStats()).values()];
  return reports.find((report) => report.type === 'inbound-rtp').totalAudioEnergy ?? 0;
};
