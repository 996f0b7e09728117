/** Draws the items of a conversation into a list, and keeps the end in sight. */

import { said } from "./conversation.js";

const NAMES = { user: "You", assistant: "Omni", tool: "Tool" };
const NEAR_END_PX = 80;

export class Transcript {
  /**
   * @param {HTMLOListElement} list @param {HTMLElement} empty shown while nothing was said
   * @param {(id: string, isAllowed: boolean) => void} allow the user's word on a tool that asks
   */
  constructor(list, empty, allow) {
    this.list = list;
    this.empty = empty;
    this.allow = allow;
    this.rows = new Map();
  }

  draw(item) {
    const isAtEnd = this.#isAtEnd();
    const row = this.rows.get(item.id) ?? this.#open(item);
    row.dataset.state = item.state;
    const words = row.querySelector("p");
    words.textContent = said(item) || (item.state === "open" ? "…" : "");
    const unheard = item.text.slice(said(item).length);
    if (item.state === "cut") words.append(...cutMark(unheard));
    if (item.state === "asked") row.append(this.#question(item.id));
    else row.querySelector("menu")?.remove();
    if (isAtEnd) this.list.scrollTop = this.list.scrollHeight;
  }

  drop(item) {
    this.rows.get(item.id)?.remove();
    this.rows.delete(item.id);
    this.empty.hidden = this.rows.size > 0;
  }

  #open(item) {
    const row = document.createElement("li");
    row.className = item.role;
    row.dataset.item = item.id;
    const name = document.createElement("span");
    name.textContent = NAMES[item.role] ?? item.role;
    row.append(name, document.createElement("p"));
    this.list.append(row);
    this.rows.set(item.id, row);
    this.empty.hidden = true;
    return row;
  }

  #question(id) {
    const choice = document.createElement("menu");
    choice.ariaLabel = "May this tool run?";
    for (const [name, isAllowed] of [["Allow", true], ["Refuse", false]]) {
      const button = document.createElement("button");
      button.textContent = name;
      button.addEventListener("click", () => this.allow(id, isAllowed));
      choice.append(button);
    }
    return choice;
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.list;
    return scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  }
}

function cutMark(unheard) {
  const rest = document.createElement("del");
  rest.textContent = unheard;
  const note = document.createElement("small");
  note.textContent = "interrupted";
  return unheard ? [rest, " ", note] : [" ", note];
}
