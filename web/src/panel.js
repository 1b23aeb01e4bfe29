// What stands under "Details": the strokes, and what is known of the photo.
import { number, say } from "./language.js";

const element = (tag, text = "", values = {}) => Object.assign(document.createElement(tag), { textContent: text, ...values });

// Fills `panel` for a photo; `onChoose(index)` is told of a stroke that somebody wants to see.
export function fillPanel(panel, photo, runtime, onChoose) {
  const had = panel.contains(document.activeElement) && document.activeElement.value;
  panel.replaceChildren(...(photo?.strokes.length ? [strokes(photo, onChoose)] : []), facts(photo, runtime), element("p", say("hint"), { className: "quiet" }));
  if (had) panel.querySelector(`input[value="${had}"]`)?.focus();
}

function strokes(photo, onChoose) {
  const box = document.createElement("fieldset");
  box.append(element("legend", say("strokes")), element("p", say("strokesMeaning"), { className: "quiet" }));
  for (const { letter, index, change, pixels } of photo.strokes) {
    const radio = element("input", "", { type: "radio", name: "stroke", value: String(index), checked: index === photo.chosen, disabled: !pixels });
    radio.addEventListener("change", () => onChoose(index));
    const label = element("label");
    label.append(radio, ` ${say("stroke", { letter, n: index + 1 })} `, element("span", say("change", { change: number(change, 2) }), { className: "quiet" }));
    box.append(label);
  }
  return box;
}

function facts(photo, runtime) {
  const list = element("dl");
  const fact = (key, ...lines) => {
    const value = element("dd");
    value.append(...lines.filter(Boolean).map((line) => element("p", line)));
    list.append(element("dt", say(key)), value);
  };
  if (photo?.width) fact("size", say("sizeIs", { width: number(photo.width), height: number(photo.height) }), ...notes(photo));
  if (photo?.state === "done") fact("time", say("timeIs", { n: number(photo.seconds, 1) }));
  if (runtime) {
    const why = runtime.why && say(`why${runtime.why[0].toUpperCase()}${runtime.why.slice(1)}`);
    fact("model", say("modelIs", { name: runtime.model, parameters: number(runtime.parameters) }));
    fact("runtime", say(runtime.runtime, { threads: runtime.threads }), why);
  }
  return list;
}

// What the visitor should know of what is saved.
export function notes({ keep, width, height, was, format }) {
  if (!keep) return [];
  return [
    keep.bits > 8 && say("noteBits", { bits: keep.bits }),
    keep.pictures > 1 && say("noteFirst", { n: keep.pictures }),
    was.width !== width && say("noteReduced", { width: number(width), height: number(height) }),
    !keep.opaque && format === "jpeg" && say("noteAlpha"),
  ].filter(Boolean);
}
