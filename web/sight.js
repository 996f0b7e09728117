/**
 * The panel of the eyes: their switches, what the camera shows, and which of its pictures were
 * really seen, with what was found in them.
 */

import { Camera } from "./camera.js";

const MAX_SHOWN = 12;
const MAX_SENT = 64; // pictures that may still be told of
const HEIGHT_PX = 96;
const SHARE = 0.5; // probability from which a box is drawn

const $ = (id) => document.getElementById(id);

export class Sight {
  /**
   * @param {{send: (event: object) => void, room: () => number, now_ms: () => number,
   *   trouble: (error: Error) => void}} on the call's: events out, characters that a still may
   *   have now, its clock; and what went wrong
   */
  constructor(on) {
    this.on = on;
    this.sent = new Map(); // captured_ms → canvas
    this.camera = new Camera($("self-view"), {
      room: on.room,
      still: (image, canvas) => this.#send(image, canvas),
      ended: () => this.close(),
    });
    $("camera").addEventListener("click", () => (this.camera.isOn ? this.close() : this.#open()));
    $("lens").addEventListener("change", () => this.#open());
    $("screen").addEventListener("click", () =>
      this.camera.isShared ? this.#open() : this.#take(this.camera.share()),
    );
    $("sharp").addEventListener("click", () => this.#sharpen(!this.camera.isSharp));
    $("screen").hidden = !navigator.mediaDevices?.getDisplayMedia;
  }

  /** The user says or writes something, perhaps about what they show. */
  ask() {
    this.camera.ask();
  }

  /** @param {object} event an `omni.image.seen` */
  seen(event) {
    const canvas = this.sent.get(event.captured_ms);
    if (!canvas) return;
    frame(canvas, event.things);
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.textContent = caption.title = inShort(event);
    $("note").textContent = event.note;
    figure.append(canvas, caption);
    const row = document.createElement("li");
    row.append(figure);
    $("seen").prepend(row);
    while ($("seen").children.length > MAX_SHOWN) $("seen").lastChild.remove();
  }

  close() {
    this.camera.close();
    this.sent.clear();
    $("seen").replaceChildren();
    $("note").textContent = "Looking…";
    this.#show();
  }

  #open() {
    return this.#take(this.camera.open($("lens").value));
  }

  async #take(opened) {
    try {
      await opened;
      await this.#listCameras();
    } catch (error) {
      this.on.trouble(error);
    }
    this.#show();
  }

  #sharpen(isSharp) {
    this.camera.isSharp = isSharp;
    this.camera.ask();
    this.#show();
  }

  #show() {
    const { isOn, isShared, isSharp } = this.camera;
    $("sight").hidden = !isOn;
    $("camera").setAttribute("aria-pressed", String(isOn));
    $("screen").setAttribute("aria-pressed", String(isShared));
    $("sharp").setAttribute("aria-pressed", String(isSharp || isShared));
    $("sharp").disabled = isShared;
  }

  #send(image, canvas) {
    const captured_ms = this.on.now_ms();
    this.sent.set(captured_ms, small(canvas));
    if (this.sent.size > MAX_SENT) this.sent.delete(this.sent.keys().next().value);
    this.on.send({ type: "input_image_buffer.append", image, captured_ms });
  }

  /** Names of cameras are given only once one was allowed. */
  async #listCameras() {
    const chosen = $("lens").value;
    const devices = await navigator.mediaDevices.enumerateDevices();
    const options = devices
      .filter(({ kind, deviceId }) => kind === "videoinput" && deviceId)
      .map(({ label, deviceId }) => new Option(label || "Camera", deviceId));
    $("lens").replaceChildren(new Option("Default camera", ""), ...options);
    $("lens").value = chosen;
  }
}

/** What was found in one picture, in a few words. */
function inShort({ things, text, note }) {
  const names = things.map(({ label, probability }) => label + (probability < SHARE ? "?" : ""));
  const found = [...new Set(names), ...(text ? [`“${text}”`] : [])];
  return found.join(" · ") || note;
}

function small(canvas) {
  const copy = document.createElement("canvas");
  copy.height = HEIGHT_PX;
  copy.width = Math.round((canvas.width / canvas.height) * HEIGHT_PX);
  copy.getContext("2d").drawImage(canvas, 0, 0, copy.width, copy.height);
  return copy;
}

/** Draws a frame around each thing that is likely there. */
function frame(canvas, things) {
  const paper = canvas.getContext("2d");
  paper.lineWidth = 2;
  paper.strokeStyle = getComputedStyle(document.body).getPropertyValue("--listening");
  for (const { box, probability } of things) {
    const [left, top, right, bottom] = box;
    if (probability < SHARE || (right - left) * (bottom - top) > 0.98) continue;
    const { width, height } = canvas;
    paper.strokeRect(left * width, top * height, (right - left) * width, (bottom - top) * height);
  }
}
