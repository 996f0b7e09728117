/**
 * The eyes' side of a call: a camera or a shared screen, as stills that are worth seeing. Hides how
 * often to look. A still is sent at once when asked for, up to four times a second while the scene
 * changes, every five seconds while it does not; none while earlier ones wait to be sent.
 */

import { CallError } from "./call.js";

const PROBE_MS = 250;
const PACES = [ // the first whose change is reached says how long ago the last still may be
  { change: 12, interval_ms: 250 },
  { change: 4, interval_ms: 1000 },
  { change: 0, interval_ms: 5000 },
];
const USUAL = { width: 640, pixels: 640 * 640, interval_ms: 0 };
const SHARP = { width: 1920, pixels: 1_800_000, interval_ms: 1000 };
const ATTEMPTS = [ // until a still fits into a message
  { scale: 1, quality: 0.7 },
  { scale: 1, quality: 0.4 },
  { scale: 0.7, quality: 0.4 },
  { scale: 0.35, quality: 0.4 },
];
const THUMB = { width: 64, height: 48, cell: 8 };

export class Camera {
  /**
   * @param {HTMLVideoElement} view shows what the camera shows
   * @param {{room: () => number, still: (image: string, canvas: HTMLCanvasElement) => void,
   *   ended: () => void}} on how many characters a still may have now; one as a data: URI, and as
   *   it was drawn; the camera was unplugged, or the screen is shared no more
   */
  constructor(view, on) {
    this.view = view;
    this.on = on;
    this.stream = null;
    this.attempt = null; // the latest to open something; the results of others are let go
    this.isShared = false; // a screen
    this.isSharp = false;
    this.timer = 0;
    this.paper = document.createElement("canvas");
    this.probe = new OffscreenCanvas(THUMB.width, THUMB.height);
    this.#forget();
  }

  get isOn() {
    return this.stream !== null;
  }

  /** @param {string} deviceId "" for the default camera @throws {CallError} */
  async open(deviceId) {
    const size = { width: { ideal: 1920 }, height: { ideal: 1080 } };
    const device = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: "user" };
    this.close(); // few phones open two at once
    await this.#take(navigator.mediaDevices?.getUserMedia({ video: { ...size, ...device } }));
  }

  /** The screen, or a part that the user chooses. @throws {CallError} */
  async share() {
    const video = { frameRate: { max: 5 } };
    await this.#take(navigator.mediaDevices?.getDisplayMedia({ video }));
    this.isShared = this.isOn;
  }

  close() {
    clearInterval(this.timer);
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = this.view.srcObject = this.attempt = null;
    this.isShared = false;
    this.#forget();
  }

  /** The next picture matters: send it whatever it shows. */
  ask() {
    this.isAsked = true;
  }

  async #take(asked) {
    const attempt = (this.attempt = Symbol());
    let stream;
    try {
      if (!asked) throw new DOMException("", "InsecureError");
      stream = await asked;
    } catch (error) {
      throw new CallError("camera", TROUBLES[error.name] ?? `No camera: ${error.message}`);
    }
    if (this.attempt !== attempt) return stream.getTracks().forEach((track) => track.stop());
    this.close();
    this.stream = this.view.srcObject = stream;
    stream.getVideoTracks()[0].onended = () => this.on.ended();
    this.timer = setInterval(() => this.#look(), PROBE_MS);
  }

  #forget() {
    this.isAsked = true;
    this.seen = null;
    this.seen_ms = 0;
  }

  #look() {
    if (this.view.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
    const thumb = this.#thumbnail();
    const now_ms = performance.now();
    if (!this.#isWanted(thumb, now_ms - this.seen_ms)) return;
    const image = this.#still(this.on.room());
    if (!image) return;
    this.isAsked = false;
    this.seen = thumb;
    this.seen_ms = now_ms;
    this.on.still(image, this.paper);
  }

  #isWanted(thumb, since_ms) {
    if (this.isAsked) return true;
    const score = difference(this.seen, thumb);
    const { interval_ms } = PACES.find(({ change }) => score >= change);
    return since_ms >= Math.max(interval_ms, this.#kind.interval_ms);
  }

  /** A screen is always sharp: most of it is text. */
  get #kind() {
    return this.isSharp || this.isShared ? SHARP : USUAL;
  }

  /** The picture as a data: URI of at most `room` characters; empty if it cannot be. */
  #still(room) {
    if (room <= 0) return "";
    const { videoWidth: width, videoHeight: height } = this.view;
    const { width: widest, pixels } = this.#kind;
    const whole = Math.min(1, widest / width, Math.sqrt(pixels / (width * height)));
    for (const { scale, quality } of ATTEMPTS) {
      this.paper.width = Math.floor(width * whole * scale);
      this.paper.height = Math.floor(height * whole * scale);
      this.paper.getContext("2d").drawImage(this.view, 0, 0, this.paper.width, this.paper.height);
      const image = this.paper.toDataURL("image/jpeg", quality);
      if (image.length <= room) return image;
    }
    return "";
  }

  /** Small and grey, [48 × 64]. */
  #thumbnail() {
    const { width, height } = THUMB;
    const paper = this.probe.getContext("2d", { willReadFrequently: true });
    paper.drawImage(this.view, 0, 0, width, height);
    const { data } = paper.getImageData(0, 0, width, height);
    const grey = new Float32Array(width * height);
    for (let i = 0; i < grey.length; i += 1) {
      grey[i] = 0.3 * data[4 * i] + 0.59 * data[4 * i + 1] + 0.11 * data[4 * i + 2];
    }
    return grey;
  }
}

/**
 * How much the part of the picture that changed most differs, in grey levels (0..255). The light
 * as a whole does not count: automatic exposure changes it all the time.
 */
function difference(before, after) {
  const { width, height, cell } = THUMB;
  let light = 0;
  for (let i = 0; i < after.length; i += 1) light += (after[i] - before[i]) / after.length;
  const cells = new Float32Array((width / cell) * (height / cell));
  for (let i = 0; i < after.length; i += 1) {
    const column = Math.floor((i % width) / cell);
    const row = Math.floor(i / width / cell);
    cells[row * (width / cell) + column] += Math.abs(after[i] - before[i] - light) / cell ** 2;
  }
  return Math.max(...cells);
}

const TROUBLES = {
  InsecureError:
    "This browser gives no camera to this page: it must be an https page or on localhost.",
  NotAllowedError: "The camera is blocked. Allow it in the address bar and turn it on again.",
  NotFoundError: "No camera was found. Plug one in and turn it on again.",
  NotReadableError: "Another program holds the camera. Close it and turn it on again.",
  OverconstrainedError: "That camera is gone. Choose another one.",
};
