// The page's language: what the visitor chose, else the browser's, else English.
import { WORDS } from "./words.js";

const stored = () => { try { return localStorage.language; } catch { return undefined; } };
const known = (tag) => Object.keys(WORDS).find((language) => tag?.toLowerCase().split("-")[0] === language);
let language = [stored(), ...navigator.languages].map(known).find(Boolean) ?? "en";
const TOUCH = matchMedia("(hover: none)").matches;

// The words of `key`, filled in. On a phone those for fingers, where there are any.
export function say(key, values = {}) {
  const words = WORDS[language];
  return (TOUCH && words[`${key}Touch`] || words[key]).replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export const number = (value, digits = 0) => value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });

// Puts the words into every element that names them: data-say its text, data-label its label for a screen reader.
function fill() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", say(element.dataset.label));
}

// Fills the page with words, and again, telling `onChange`, whenever `select` changes.
export function speak(select, onChange) {
  for (const [tag, words] of Object.entries(WORDS)) select.append(new Option(words.language, tag, false, tag === language));
  for (const option of select.options) option.lang = option.value;
  select.addEventListener("change", () => {
    language = select.value;
    try { localStorage.language = language; } catch { /* it is asked again next time */ }
    fill();
    onChange();
  });
  fill();
}
