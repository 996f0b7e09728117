/**
 * One call over WebRTC: the microphone out, the reply's sound in, events both ways.
 * Hides signalling, and turns everything that can go wrong into a `CallError` in words.
 */

const CALLS = "/v1/realtime/calls?extensions=omni";
const GATHER_MS = 1000;
const CONNECT_MS = 15000;
const SILENCE_MS = 4000; // a broken path is given this long to mend
const MAX_WAITING_BYTES = 16 << 10; // small events must not wait behind large ones
const ENVELOPE = 200; // characters around what an event carries

export class CallError extends Error {
  /** @param {string} code @param {string} message what happened and what to do about it */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export class Call {
  /**
   * @param {Record<string, string>} headers what the server must be shown
   * @param {{event: (event: object) => void, lost: (error: CallError, hadMicrophone: boolean) => void}} on
   *   server events, and the end of a call that nobody asked for
   */
  constructor(headers, on) {
    this.headers = headers;
    this.on = on;
    this.peer = null;
    this.channel = null;
    this.microphone = null;
    this.voice = new MediaStream();
    this.timer = 0;
    this.opened_ms = 0;
  }

  /** Time since the call stands, which is how much was heard of the microphone. */
  get now_ms() {
    return Math.round(performance.now() - this.opened_ms);
  }

  /** How many characters an event may carry now; 0 while others wait, or without a call. */
  get room() {
    const { channel, peer } = this;
    if (channel?.readyState !== "open" || channel.bufferedAmount > MAX_WAITING_BYTES) return 0;
    return peer.sctp.maxMessageSize - ENVELOPE;
  }

  /**
   * Connects; resolves when events can be sent.
   * @param {MediaStream | null} microphone null: none yet
   * @param {HTMLAudioElement} speaker plays the reply; through an element, because the browser's
   *   echo canceller takes its reference from there
   */
  async start(microphone, speaker) {
    const peer = (this.peer = new RTCPeerConnection({ iceServers: [] }));
    this.way = peer.addTransceiver("audio", { direction: "sendrecv" });
    if (microphone) this.attach(microphone);
    peer.ontrack = ({ track }) => {
      this.voice.addTrack(track);
      speaker.srcObject = this.voice;
    };
    const channel = (this.channel = peer.createDataChannel("oai-events"));
    channel.onmessage = ({ data }) => this.on.event(JSON.parse(data));
    const opened = new Promise((resolve) => (channel.onopen = resolve));
    try {
      await this.#signal(peer);
      await within(CONNECT_MS, opened);
    } catch (error) {
      this.stop();
      throw error;
    }
    this.opened_ms = performance.now();
    channel.onclose = () => this.#lose();
    peer.onconnectionstatechange = () => this.#watch(peer.connectionState);
  }

  /** @param {MediaStream} microphone heard from now on */
  attach(microphone) {
    this.microphone = microphone;
    this.way.sender.replaceTrack(microphone.getAudioTracks()[0]);
  }

  /** Ends the call from our side; harmless if there is none. */
  stop() {
    clearTimeout(this.timer);
    if (this.channel) this.channel.onclose = null;
    if (this.peer) this.peer.onconnectionstatechange = null;
    this.peer?.close();
    this.microphone?.getTracks().forEach((track) => track.stop());
    this.peer = this.channel = this.microphone = null;
  }

  /** @param {object} event a Realtime client event; dropped if the call is over */
  send(event) {
    if (this.channel?.readyState === "open") this.channel.send(JSON.stringify(event));
  }

  mute(isMuted) {
    this.microphone?.getAudioTracks().forEach((track) => (track.enabled = !isMuted));
  }

  async #signal(peer) {
    await peer.setLocalDescription(await peer.createOffer());
    await gathered(peer);
    let answer;
    try {
      answer = await fetch(CALLS, {
        method: "POST",
        headers: { ...this.headers, "Content-Type": "application/sdp" },
        body: peer.localDescription.sdp,
      });
    } catch {
      throw new CallError("unreachable", "The server does not answer. Is it running?");
    }
    if (!answer.ok) throw await refused(answer);
    await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  }

  #watch(state) {
    clearTimeout(this.timer);
    if (state === "failed" || state === "closed") this.#lose();
    if (state === "disconnected") this.timer = setTimeout(() => this.#lose(), SILENCE_MS);
  }

  #lose() {
    const hadMicrophone = this.microphone !== null;
    this.stop();
    this.on.lost(new CallError("lost", "The connection was lost."), hadMicrophone);
  }
}

/**
 * Asks for the microphone.
 * @param {string} deviceId "" for the default one
 * @param {boolean} isCleaned echo and noise removed by the browser
 * @returns {Promise<MediaStream>} @throws {CallError}
 */
export async function openMicrophone(deviceId, isCleaned) {
  if (!navigator.mediaDevices) {
    throw new CallError(
      "insecure",
      "Browsers give the microphone only to https pages and to localhost. Open this page there.",
    );
  }
  const audio = {
    deviceId: deviceId ? { exact: deviceId } : undefined,
    echoCancellation: isCleaned,
    noiseSuppression: isCleaned,
    autoGainControl: isCleaned,
  };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw new CallError("microphone", MICROPHONE[error.name] ?? `No microphone: ${error.message}`);
  }
}

const MICROPHONE = {
  NotAllowedError:
    "The microphone is blocked. Allow it in the address bar and start again, or type instead.",
  NotFoundError: "No microphone was found. Plug one in and start again, or type instead.",
  NotReadableError: "Another program holds the microphone. Close it, or type instead.",
  OverconstrainedError: "That microphone is gone. Choose another one, or type instead.",
};

async function refused(answer) {
  const body = await answer.json().catch(() => ({}));
  const reason = body.error?.message ?? `It said ${answer.status}.`;
  if (answer.status === 401) {
    return new CallError("key", "This server wants its key. Enter it below and start again.");
  }
  if (answer.status === 429) {
    return new CallError("busy", `The server is busy. Try again in a moment. ${reason}`);
  }
  if (answer.status === 503) {
    return new CallError("starting", "The server is still loading its models. Try again soon.");
  }
  return new CallError("refused", `The server refused the call. ${reason}`);
}

function gathered(peer) {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    setTimeout(resolve, GATHER_MS);
    peer.onicegatheringstatechange = () => peer.iceGatheringState === "complete" && resolve();
  });
}

function within(limit_ms, promise) {
  const late = new CallError(
    "blocked",
    "The server answered, but no sound gets through. A firewall may block UDP between you.",
  );
  return Promise.race([
    promise,
    new Promise((_, reject) => setTimeout(() => reject(late), limit_ms)),
  ]);
}
