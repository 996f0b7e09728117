/** The playground: joins the call, the conversation and the page. */

import { Call, CallError, openMicrophone } from "./call.js";
import { Conversation } from "./conversation.js";
import { Meter, loudness } from "./meter.js";
import { Orb } from "./orb.js";
import { Settings } from "./settings.js";
import { Sight } from "./sight.js";
import { toast, clearToasts } from "./toasts.js";
import { Transcript } from "./transcript.js";

const PHASES = {
  idle: ["Ready when you are", "Nothing you say leaves the machine that runs this server."],
  connecting: ["Connecting", "Your browser may ask for the microphone."],
  listening: ["Listening", "Say something. You can talk over a reply at any time."],
  hearing: ["Hearing you", "Go on. A short pause ends your turn."],
  thinking: ["Thinking", "Putting an answer together."],
  speaking: ["Speaking", "Talk over it, or press Esc, and it stops."],
};
const TIMINGS = {
  end_of_turn_ms: "end",
  recognised_ms: "words",
  first_token_ms: "thought",
  first_audio_ms: "sound",
};
const RETRIES_MS = [500, 2000, 5000];
const QUIET_ERRORS = new Set(["response_cancel_not_active"]);

const $ = (id) => document.getElementById(id);

const settings = new Settings((change) => call?.send(change));
const transcript = new Transcript($("transcript"), $("empty"), (id, isAllowed) =>
  conversation.allow(id, isAllowed),
);
const conversation = new Conversation({
  item: draw,
  dropped: drop,
  phase: show,
  send: (event) => call?.send(event),
});
const sight = new Sight({
  send: (event) => call?.send(event),
  room: () => call?.room ?? 0,
  now_ms: () => call?.now_ms ?? 0,
  trouble: complain,
});
const meter = new Meter((v2v_ms) => showLatency(v2v_ms));
new Orb($("orb"), () =>
  loudness(conversation.phase === "speaking" ? meter.voice : meter.microphone),
);

let call = null;
let isMuted = false;

async function start({ withMicrophone = true } = {}) {
  clearToasts();
  show("connecting");
  const next = new Call(settings.headers, { event: receive, lost });
  call = next;
  try {
    await meter.open();
    const microphone = withMicrophone ? await listen() : null;
    if (call !== next) return microphone?.getTracks().forEach((track) => track.stop());
    await next.start(microphone, $("voice-out"));
    meter.watchVoice(next.voice);
  } catch (error) {
    if (call !== next) return; // the user had enough of waiting
    end();
    throw error;
  }
  next.send(settings.asUpdate());
  for (const item of conversation.replay()) next.send({ type: "conversation.item.create", item });
  mute(isMuted);
  show(conversation.phase);
}

/** Opens the chosen microphone; its level shows at once. */
async function listen() {
  const microphone = await openMicrophone(settings.microphone, settings.isCleaned);
  meter.watchMicrophone(microphone);
  settings.listMicrophones();
  return microphone;
}

function end() {
  call?.stop();
  call = null;
  meter.close();
  conversation.reset();
  show("idle");
}

function hangUp() {
  end();
  sight.close();
}

async function begin(options) {
  try {
    await start(options);
  } catch (error) {
    complain(error);
  }
}

async function lost(error, withMicrophone) {
  end();
  for (const wait_ms of RETRIES_MS) {
    toast(`${error.message} Connecting again…`);
    await new Promise((resolve) => setTimeout(resolve, wait_ms));
    if (call) return;
    try {
      return await start({ withMicrophone });
    } catch (again) {
      error = again instanceof CallError ? again : error;
    }
  }
  sight.close();
  toast(error.message, ["Connect again", () => begin({ withMicrophone })]);
}

function complain(error) {
  if (!(error instanceof CallError)) {
    toast(`Something went wrong in this page: ${error.message}`);
    throw error;
  }
  const isDeaf = error.code === "microphone" || error.code === "insecure";
  if (error.code === "key") settings.askKey();
  if (error.code === "camera") return toast(error.message);
  if (isDeaf) toast(error.message, ["Type instead", () => begin({ withMicrophone: false })]);
  else toast(error.message, ["Try again", () => begin()]);
}

function receive(event) {
  conversation.apply(event);
  if (event.type === "session.created") created(event.session);
  if (event.type === "input_audio_buffer.speech_started") attend();
  if (event.type === "input_audio_buffer.speech_stopped") meter.asked();
  if (event.type === "output_audio_buffer.started") meter.replying();
  if (event.type === "omni.response.timings") showTimings(event);
  if (event.type === "omni.image.seen") sight.seen(event);
  const failure = event.response?.status_details?.error; // a lost reply is no error event
  if (failure) toast(failure.message);
  if (event.type === "error" && !QUIET_ERRORS.has(event.error.code)) toast(event.error.message);
}

/** The user speaks: a delay counts from their end, and what they show may matter. */
function attend() {
  meter.resumed();
  sight.ask();
}

function created(session) {
  $("model").textContent = session.model ?? "";
  settings.adopt(session);
}

function show(phase) {
  document.body.dataset.phase = phase;
  [$("phase").textContent, $("hint").textContent] = PHASES[phase];
  const isOn = phase !== "idle";
  $("call").textContent = isOn ? "Stop" : "Start talking";
  $("call").classList.toggle("danger", isOn);
  $("mute").hidden = $("camera").hidden = !isOn || phase === "connecting";
  $("interrupt").hidden = !isOn;
  $("interrupt").disabled = phase !== "speaking" && phase !== "thinking";
}

function draw(item) {
  transcript.draw(item);
  $("anew").hidden = false;
}

function drop(item) {
  transcript.drop(item);
  $("anew").hidden = conversation.items.size === 0;
}

function showLatency(v2v_ms) {
  $("latency").hidden = false;
  $("timings").textContent = ""; // they come when the reply is over
  $("v2v").textContent = `${(v2v_ms / 1000).toFixed(2)} s`;
}

/** The server's own figures: seconds from the last sound of the user's turn. */
function showTimings(event) {
  $("timings").textContent = Object.entries(TIMINGS)
    .filter(([name]) => event[name] != null)
    .map(([name, label]) => `${label} ${(event[name] / 1000).toFixed(2)}`)
    .join(" · ");
}

function mute(isOn) {
  isMuted = isOn;
  call?.mute(isOn);
  const isHeard = Boolean(call?.microphone);
  $("mute").setAttribute("aria-pressed", String(isHeard && isOn));
  $("mute").textContent = !isHeard ? "Use mic" : isOn ? "Unmute" : "Mute";
}

async function toggleMicrophone() {
  if (call.microphone) return mute(!isMuted);
  try {
    call.attach(await listen());
    mute(false);
  } catch (error) {
    complain(error);
  }
}

function interrupt() {
  if (conversation.isWriting) call?.send({ type: "response.cancel" });
  if (conversation.isSpeaking) call?.send({ type: "output_audio_buffer.clear" });
}

async function write(text) {
  if (!call) await begin({ withMicrophone: false });
  if (!call) return;
  interrupt();
  meter.wrote();
  const content = [{ type: "input_text", text }];
  const item = { type: "message", role: "user", content };
  call.send({ type: "conversation.item.create", item });
  call.send({ type: "response.create" });
}

function showLevel() {
  const percent = Math.round(loudness(meter.microphone) * 100);
  $("meter").setAttribute("aria-valuenow", percent);
  $("meter").firstElementChild.style.setProperty("--level", percent / 100);
}

$("call").addEventListener("click", () => (call ? hangUp() : begin()));
$("anew").addEventListener("click", () => {
  hangUp();
  conversation.clear();
});
$("key-field").addEventListener("submit", (event) => {
  event.preventDefault();
  begin();
});
$("mute").addEventListener("click", toggleMicrophone);
$("interrupt").addEventListener("click", interrupt);
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  $("text").value = "";
  if (text) write(text);
});
addEventListener("keydown", ({ key }) => key === "Escape" && interrupt());
setInterval(showLevel, 100);
