/**
 * What the page knows of the conversation, from the server's events alone. No DOM, no clock.
 *
 * An item: {id, role, text, heard, state}; role "tool" is a call in one line. `heard` is how many
 * characters of `text` are sure to have been said; state is "open" (words still come), "asked" (a
 * tool waits for leave to run), "done" or "cut" (interrupted: the rest of the text was never heard).
 * Phases: listening, hearing, thinking, speaking.
 */

export class Conversation {
  /**
   * @param {{item: (item: object) => void, dropped: (item: object) => void,
   *   phase: (phase: string) => void, send: (event: object) => void}} on
   */
  constructor(on) {
    this.on = on;
    this.items = new Map();
    this.reset();
  }

  /** A new call: what was said stays, what was going on does not. */
  reset() {
    this.isHearing = this.isOwed = this.isSpeaking = this.isWriting = false;
    for (const item of this.items.values()) {
      if (item.state === "open" || item.state === "asked") this.#close(item);
    }
  }

  /** Forgets everything. */
  clear() {
    for (const id of [...this.items.keys()]) this.drop(id);
  }

  get phase() {
    if (this.isHearing) return "hearing";
    if (this.isSpeaking) return "speaking";
    return this.isOwed || this.isWriting ? "thinking" : "listening";
  }

  /** @param {object} event a Realtime server event; unknown ones are ignored */
  apply(event) {
    const before = this.phase;
    EVENTS[event.type]?.call(this, event);
    if (this.phase !== before) this.on.phase(this.phase);
  }

  /** What a new call must be told to go on from here: Realtime items. */
  replay() {
    const kinds = { user: "input_text", assistant: "output_text" };
    return [...this.items.values()]
      .filter(({ role }) => role in kinds)
      .map((item) => ({ ...item, text: item.state === "cut" ? said(item) : item.text }))
      .filter(({ text }) => text)
      .map(({ id, role, text }) => ({
        id, type: "message", role, content: [{ type: kinds[role], text }],
      }));
  }

  #close(item) {
    item.state = item.role === "assistant" ? "cut" : "done";
    if (item.text) this.on.item(item);
    else this.drop(item.id);
  }

  item(id, role) {
    if (!this.items.has(id)) {
      this.items.set(id, { id, role, text: "", heard: 0, state: "open" });
    }
    return this.items.get(id);
  }

  drop(id) {
    const item = this.items.get(id);
    this.items.delete(id);
    if (item) this.on.dropped(item);
  }

  grow(id, delta) {
    const item = this.items.get(id);
    if (!item || item.state === "cut") return;
    item.text += delta;
    this.on.item(item);
  }

  /** The user lets a tool run, or does not. */
  allow(id, isAllowed) {
    if (this.items.get(id)?.state !== "asked") return;
    const item = { type: "mcp_approval_response", approval_request_id: id, approve: isAllowed };
    this.on.send({ type: "conversation.item.create", item });
    this.settle(id, isAllowed);
  }

  /** Somebody has allowed a tool to run, or refused. */
  settle(id, isAllowed) {
    const item = this.items.get(id);
    if (item?.state !== "asked") return;
    item.text += isAllowed ? " → allowed" : " → refused";
    item.state = "done";
    this.on.item(item);
  }

  /** The item as the server now holds it, after an interruption: only what was heard. */
  cut(id, kept) {
    const item = this.items.get(id);
    if (item?.role !== "assistant") return;
    const words = kept.trim();
    if (!words && !item.text) return this.drop(id);
    if (!item.text.trimStart().startsWith(words)) item.text = words;
    item.heard = item.text.length - item.text.trimStart().length + words.length;
    item.state = "cut";
    this.on.item(item);
  }
}

/** The part of an item that was heard, or of an open one, all there is. */
export function said(item) {
  return item.state === "cut" ? item.text.slice(0, item.heard) : item.text;
}

function wordsOf(item) {
  return (item.content ?? []).map((part) => part.transcript ?? part.text ?? "").join(" ").trim();
}

/** A call of a tool in one line, with its answer once it is there. */
function callOf(item) {
  const call = `${item.name}(${item.arguments || ""})`;
  const answer = item.error?.message ?? item.output;
  return answer ? `${call} → ${answer}` : call;
}

const CALLS = ["function_call", "mcp_call", "mcp_approval_request"];

const EVENTS = {
  "input_audio_buffer.speech_started"({ item_id }) {
    this.isHearing = true;
    for (const item of this.items.values()) {
      const isNoise = item.role === "user" && item.state === "open" && item.id !== item_id;
      if (isNoise) this.drop(item.id);
    }
  },

  // A sound without words ends here too, and nothing follows: only words are owed an answer.
  "input_audio_buffer.speech_stopped"({ item_id }) {
    this.isHearing = false;
    this.isOwed = Boolean(this.items.get(item_id)?.text);
  },

  "input_audio_buffer.committed"({ item_id }) {
    this.isOwed = true;
    this.on.item(this.item(item_id, "user"));
  },

  "conversation.item.added"({ item }) {
    if (item.type !== "message" || this.items.has(item.id)) return;
    const added = this.item(item.id, item.role);
    added.text = wordsOf(item);
    if (item.role === "user" && added.text) added.state = "done";
    this.on.item(added);
  },

  "conversation.item.done"({ item }) {
    if (item.type === "mcp_approval_response") {
      return this.settle(item.approval_request_id, item.approve);
    }
    if (!CALLS.includes(item.type)) return;
    const call = this.item(item.id, "tool");
    call.text = callOf(item);
    call.state = item.type === "mcp_approval_request" ? "asked" : "done";
    this.on.item(call);
  },

  "response.output_item.done"({ item }) {
    if (item.type !== "mcp_call") return; // its tool runs yet
    const call = this.item(item.id, "tool");
    call.text = callOf(item);
    this.on.item(call);
  },

  "conversation.item.deleted"({ item_id }) {
    this.drop(item_id);
  },

  "conversation.item.input_audio_transcription.delta"({ item_id, delta }) {
    this.item(item_id, "user");
    this.grow(item_id, delta ?? "");
  },

  "conversation.item.input_audio_transcription.completed"({ item_id, transcript }) {
    const item = this.item(item_id, "user");
    item.text = transcript.trim();
    item.state = "done";
    if (item.text) return this.on.item(item);
    this.drop(item_id);
    this.isOwed = false;
  },

  "conversation.item.input_audio_transcription.failed"({ item_id }) {
    this.drop(item_id);
    this.isOwed = false;
  },

  "response.created"() {
    this.isWriting = true;
    this.isOwed = false;
  },

  "response.output_audio_transcript.delta"({ item_id, delta }) {
    this.grow(item_id, delta);
  },

  "response.output_text.delta"({ item_id, delta }) {
    this.grow(item_id, delta);
  },

  "response.done"({ response }) {
    this.isWriting = false;
    for (const done of response.output ?? []) {
      const item = this.items.get(done.id);
      if (!item || item.state === "cut" || item.role === "tool") continue;
      if (response.status === "cancelled") this.cut(item.id, wordsOf(done));
      else if (wordsOf(done) || item.text) {
        item.text = wordsOf(done) || item.text;
        item.state = "done";
        this.on.item(item);
      } else this.drop(item.id);
    }
  },

  // Written out in full but cut off while it was spoken: ask what was heard of it.
  "conversation.item.truncated"({ item_id }) {
    this.on.send({ type: "conversation.item.retrieve", item_id });
  },

  "conversation.item.retrieved"({ item }) {
    this.cut(item.id, wordsOf(item));
  },

  "output_audio_buffer.started"() {
    this.isSpeaking = true;
    this.isOwed = false;
  },

  "output_audio_buffer.stopped"() {
    this.isSpeaking = false;
  },

  "output_audio_buffer.cleared"() {
    this.isSpeaking = false;
  },
};
