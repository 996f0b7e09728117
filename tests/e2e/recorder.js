// Records what the page receives, from outside the page's own code: the reply's sound, the
// events, and when the page changed its phase. Times are ms from the first recorded sample.

const heard = { chunks: [], phases: [], events: [], recorder: null, since_ms: 0 };

window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...options) {
    super(...options);
    this.addEventListener("track", ({ track }) => {
      if (track.kind !== "audio" || heard.recorder) return;
      heard.recorder = new MediaRecorder(new MediaStream([track]));
      heard.recorder.ondataavailable = ({ data }) => heard.chunks.push(data);
      heard.recorder.onstart = () => (heard.since_ms = performance.now());
      heard.recorder.start();
    });
  }

  createDataChannel(...options) {
    const channel = super.createDataChannel(...options);
    channel.addEventListener("message", ({ data }) => {
      heard.events.push(`${Math.round(performance.now())} ms: ${data}`);
    });
    return channel;
  }
};

window.eventLog = () => heard.events.join("\n");

addEventListener("DOMContentLoaded", () => {
  const note = () =>
    heard.phases.push([document.body.dataset.phase, performance.now()]);
  new MutationObserver(note).observe(document.body, { attributeFilter: ["data-phase"] });
});

window.takeRecording = async () => {
  const stopped = new Promise((resolve) => (heard.recorder.onstop = resolve));
  heard.recorder.stop();
  await stopped;
  const bytes = new Uint8Array(await new Blob(heard.chunks).arrayBuffer());
  const phases = heard.phases.map(([phase, at_ms]) => [phase, at_ms - heard.since_ms]);
  return { audio: Array.from(bytes), phases };
};
