/** Voice names for people: `bf_emma` is Emma, a British woman. */

const LANGUAGES = {
  a: "American English",
  b: "British English",
  e: "Spanish",
  f: "French",
  h: "Hindi",
  i: "Italian",
  j: "Japanese",
  p: "Brazilian Portuguese",
  z: "Mandarin Chinese",
};
const GENDERS = { f: "woman", m: "man" };

/**
 * Fills the selector, grouped by language.
 * @param {HTMLSelectElement} select @param {string[]} voices @param {string} chosen
 */
export function fillVoices(select, voices, chosen) {
  const groups = new Map();
  for (const voice of voices) {
    const { language, label } = describe(voice);
    if (!groups.has(language)) {
      const group = document.createElement("optgroup");
      group.label = language;
      groups.set(language, group);
    }
    groups.get(language).append(new Option(label, voice, false, voice === chosen));
  }
  select.replaceChildren(...groups.values());
}

function describe(voice) {
  const [, tongue, gender, name] = voice.match(/^([a-z])([fm])_(\w+)$/) ?? [];
  if (!LANGUAGES[tongue]) return { language: "Voices", label: voice };
  const shown = name[0].toUpperCase() + name.slice(1);
  return { language: LANGUAGES[tongue], label: `${shown}, ${GENDERS[gender]}` };
}
