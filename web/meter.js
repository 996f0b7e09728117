/**
 * How loud both sides are, and how long a reply took to begin, on one clock. The delay counts from
 * the user's last sound to the first sound of the reply, as this machine hears them.
 */

const VOICE_RMS = 0.003; // the reply is silent or clearly not
const SPEECH_RMS = 0.01;
const SPEECH_OVER_FLOOR = 3;
const FAINT_DB = -55;
const LOUD_DB = -8;

/** How loud an RMS level looks to people: 0 (faint) to 1 (loud). */
export function loudness(rms) {
  const level = (20 * Math.log10(rms + 1e-6) - FAINT_DB) / (LOUD_DB - FAINT_DB);
  return Math.min(1, Math.max(0, level));
}

export class Meter {
  /** @param {(v2v_ms: number) => void} onReply called when a reply begins to sound */
  constructor(onReply) {
    this.onReply = onReply;
    this.microphone = 0;
    this.voice = 0;
    this.floor = SPEECH_RMS / SPEECH_OVER_FLOOR;
    this.heard_s = 0;
    this.asked_s = null; // when the user's last turn ended, while its reply is awaited
    this.isReplying = false;
    this.context = this.node = null;
  }

  /** Opens the clock; call it from a click, browsers allow sound only then. */
  async open() {
    this.context = new AudioContext({ latencyHint: "interactive" });
    await this.context.resume();
    if (!this.context.audioWorklet) return; // plain http elsewhere: no levels, but words
    await this.context.audioWorklet.addModule("meter-worklet.js");
    this.node = new AudioWorkletNode(this.context, "meter", {
      numberOfInputs: 2,
      numberOfOutputs: 0,
    });
    this.node.port.onmessage = ({ data }) => this.#measure(data);
  }

  /** @param {MediaStream} stream */
  watchMicrophone(stream) {
    if (this.node) this.context.createMediaStreamSource(stream).connect(this.node, 0, 0);
  }

  /** @param {MediaStream} stream the replies, already playing in an audio element */
  watchVoice(stream) {
    if (this.node) this.context.createMediaStreamSource(stream).connect(this.node, 0, 1);
  }

  async close() {
    this.microphone = this.voice = 0;
    this.asked_s = null;
    const { context } = this;
    this.context = this.node = null;
    await context?.close();
  }

  /** The user has finished: the next sound of ours is the reply. */
  asked() {
    this.asked_s = this.heard_s || this.context?.currentTime;
    this.isReplying = false;
  }

  /** The same for a written message, whose end is now. */
  wrote() {
    this.asked_s = this.context?.currentTime;
    this.isReplying = false;
  }

  /** The reply is on its way: from now on, sound is its sound. */
  replying() {
    this.isReplying = true;
  }

  /** The user goes on speaking: nothing is owed. */
  resumed() {
    this.asked_s = null;
  }

  #measure({ time_s, levels: [microphone, voice] }) {
    this.microphone = microphone;
    this.voice = voice;
    const pull = microphone < this.floor ? 0.05 : 0.0005;
    this.floor += (microphone - this.floor) * pull;
    const floor_rms = Math.max(SPEECH_RMS, this.floor * SPEECH_OVER_FLOOR);
    if (microphone > floor_rms) this.heard_s = time_s;
    if (this.isReplying && this.asked_s !== null && voice > VOICE_RMS) {
      this.onReply((time_s - this.asked_s) * 1000);
      this.asked_s = null;
    }
  }
}
