/** Troubles, said in words, with the one thing to do about them. */

const LASTS_MS = 12000;
const box = document.getElementById("toasts");

/** @param {string} message @param {[label: string, act: () => void]} [action] stays until done */
export function toast(message, action) {
  clearToasts();
  const card = document.createElement("div");
  const words = document.createElement("p");
  words.textContent = message;
  card.append(words);
  if (action) card.append(button(action[0], card, action[1]));
  else setTimeout(() => card.remove(), LASTS_MS);
  card.append(button("Dismiss", card, () => {}));
  box.append(card);
}

export function clearToasts() {
  box.replaceChildren();
}

function button(label, card, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = label;
  made.addEventListener("click", () => {
    card.remove();
    act();
  });
  return made;
}
