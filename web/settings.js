/** What the user may choose, kept between visits, and as the protocol wants it said. */

import { fillVoices } from "./voices.js";

const STORE = "omni.settings";
const $ = (id) => document.getElementById(id);

export class Settings {
  /** @param {(event: object) => void} onChange receives a session.update when a choice changes */
  constructor(onChange) {
    this.stored = read();
    this.ownInstructions = "";
    $("instructions").value = this.stored.instructions ?? "";
    $("clean").checked = this.stored.isCleaned ?? true;
    const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
    this.#theme(this.stored.theme ?? (isDark ? "dark" : "light"));
    this.#listVoices();
    $("key").addEventListener("change", () => this.#listVoices());
    $("voice").addEventListener("change", () => this.#keep("voice", $("voice").value, onChange));
    $("instructions").addEventListener("change", () =>
      this.#keep("instructions", $("instructions").value.trim(), onChange),
    );
    $("clean").addEventListener("change", () => this.#keep("isCleaned", $("clean").checked));
    $("theme").addEventListener("click", () => {
      const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
      this.#theme(theme);
      this.#keep("theme", theme);
    });
  }

  /** What a server that is kept to itself must be shown; the key is forgotten with the page. */
  get headers() {
    const key = $("key").value.trim();
    return key ? { Authorization: `Bearer ${key}` } : {};
  }

  askKey() {
    $("key-field").hidden = false;
    $("key").focus();
  }

  get microphone() {
    return $("microphone").value;
  }

  get isCleaned() {
    return $("clean").checked;
  }

  /** @param {object} session as the server makes it when it is asked for nothing */
  adopt(session) {
    this.ownInstructions = session.instructions ?? "";
    $("instructions").placeholder = this.ownInstructions;
  }

  /** All choices that concern the server; what was left alone is left to it. */
  asUpdate() {
    const session = { type: "realtime" };
    const instructions = $("instructions").value.trim() || this.ownInstructions;
    if (instructions) session.instructions = instructions;
    if ($("voice").value) session.audio = { output: { voice: $("voice").value } };
    return { type: "session.update", session };
  }

  /** Names of microphones are given only once one was allowed. */
  async listMicrophones() {
    const select = $("microphone");
    const chosen = select.value;
    const devices = await navigator.mediaDevices.enumerateDevices();
    const options = devices
      .filter(({ kind, deviceId }) => kind === "audioinput" && deviceId && deviceId !== "default")
      .map(({ label, deviceId }) => new Option(label || "Microphone", deviceId));
    select.replaceChildren(new Option("Default", ""), ...options);
    select.value = chosen;
  }

  async #listVoices() {
    const answer = await fetch("/v1/voices", { headers: this.headers }).catch(() => null);
    const known = answer?.ok ? await answer.json() : { voices: [] };
    const chosen = known.voices.includes(this.stored.voice) ? this.stored.voice : known.default;
    fillVoices($("voice"), known.voices, chosen);
    $("voice").parentElement.hidden = known.voices.length === 0;
  }

  #keep(name, value, onChange) {
    this.stored[name] = value;
    localStorage.setItem(STORE, JSON.stringify(this.stored));
    onChange?.(this.asUpdate());
  }

  #theme(theme) {
    document.documentElement.dataset.theme = theme;
    $("theme").textContent = theme === "dark" ? "Light" : "Dark";
  }
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(STORE)) ?? {};
  } catch {
    return {};
  }
}
