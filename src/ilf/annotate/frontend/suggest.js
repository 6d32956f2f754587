// Suggestions that save typing, each marked with its source. What was shown and what was taken goes with the draft; the
// server sees on submitting what became of it (annotate/suggestions.py).
import { base } from "./drafts.js";

const NAMES = { verdict: "from the verdict", model: "written by a model", earlier: "written by you before" };
const KEYS = { verdict: "v", model: "m" };

export function setUpSuggestions(form, text, known, picked) {
  const box = document.getElementById("suggestions");
  const field = form.querySelector("[name=suggested]");
  if (!box) return { all: () => known ?? [], restore: () => {}, show: () => {}, take: () => {}, search: null };
  const offered = JSON.parse(document.getElementById("offered").textContent);
  let seen = [...(known ?? [])];

  const same = (a) => (b) => a.source === b.source && a.text === b.text;
  function note(one, taken) {
    const at = seen.findIndex(same(one));
    if (at < 0) seen.push({ source: one.source, text: one.text, taken });
    else if (taken) seen[at] = { ...seen[at], taken: true };
    field.value = JSON.stringify(seen);
  }

  // Into the text: as its beginning where there is none yet or it is a whole first sentence, else where one writes.
  function insert(one) {
    note(one, true);
    const at = one.source === "earlier" ? caretWas : 0;
    const before = text.value.slice(0, at);
    const after = text.value.slice(at);
    const gap = before && !/\s$/.test(before) ? " " : "";
    const end = one.source !== "earlier" && after && !after.startsWith("\n") ? "\n" : "";
    text.value = before + gap + one.text + end + after;
    text.focus();
    const caret = (before + gap + one.text).length;
    text.setSelectionRange(caret, caret);
    text.dispatchEvent(new Event("input", { bubbles: true }));
    show();
  }

  function show() {
    const mine = offered[picked().value] ?? [];
    for (const one of mine) note(one, false);
    box.replaceChildren(
      ...mine
        .filter((one) => !text.value.includes(one.text))
        .map((one) => {
          const entry = document.createElement("div");
          entry.className = "suggestion";
          const badge = Object.assign(document.createElement("span"), { className: "badge", textContent: NAMES[one.source] });
          const words = Object.assign(document.createElement("span"), { className: "words", textContent: one.text });
          const use = Object.assign(document.createElement("button"), { type: "button", textContent: "Use " });
          use.append(Object.assign(document.createElement("kbd"), { textContent: KEYS[one.source] }));
          use.addEventListener("click", () => insert(one));
          entry.append(badge, words, use);
          return entry;
        }),
    );
  }

  const take = (source) => {
    const one = (offered[picked().value] ?? []).find((o) => o.source === source && !text.value.includes(o.text));
    if (one) insert(one);
  };

  // Search as one types --------------------------------------------------------------------------------------
  const dialog = document.createElement("dialog");
  dialog.className = "finder";
  dialog.setAttribute("aria-label", "What you wrote before");
  const query = Object.assign(document.createElement("input"), { type: "search", placeholder: "Words of what you wrote before" });
  for (const [name, value] of [["role", "combobox"], ["aria-expanded", "true"], ["aria-controls", "found"], ["aria-label", "Search what you wrote before"], ["autocomplete", "off"]]) query.setAttribute(name, value);
  const list = Object.assign(document.createElement("div"), { id: "found" });
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Found");
  const none = Object.assign(document.createElement("p"), { className: "muted small", textContent: "Nothing found." });
  dialog.append(query, list, none);
  document.body.append(dialog);
  let current = 0;
  let caretWas = 0;
  let asked = 0;

  function mark(at) {
    const entries = [...list.children];
    current = Math.max(0, Math.min(entries.length - 1, at));
    entries.forEach((entry, index) => entry.setAttribute("aria-selected", String(index === current)));
    const chosen = entries[current];
    if (chosen) query.setAttribute("aria-activedescendant", chosen.id);
    else query.removeAttribute("aria-activedescendant");
    chosen?.scrollIntoView({ block: "nearest" });
  }

  async function look() {
    const mine = ++asked;
    const parameters = new URLSearchParams({ q: query.value, candidate: picked().value });
    const found = await fetch(`${base}/items/${form.dataset.item}/earlier?${parameters}`, { headers: { accept: "application/json" } })
      .then((reply) => (reply.ok ? reply.json() : []))
      .catch(() => []);
    if (mine !== asked) return; // a later key's answer is on its way
    list.replaceChildren(
      ...found.map((words, at) => {
        const entry = Object.assign(document.createElement("div"), { id: `found-${at}`, textContent: words });
        entry.setAttribute("role", "option");
        entry.addEventListener("click", () => choose(at));
        return entry;
      }),
    );
    list.hidden = !found.length;
    none.hidden = Boolean(found.length);
    mark(0);
  }

  function choose(at) {
    const words = list.children[at]?.textContent;
    dialog.close();
    if (words) insert({ source: "earlier", text: words });
  }

  query.addEventListener("input", look);
  query.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") mark(current + (event.key === "ArrowDown" ? 1 : -1));
    else if (event.key === "Enter") choose(current);
    else return;
    event.preventDefault();
  });
  function search() {
    // Where one writes; at the end for who writes nowhere yet.
    caretWas = document.activeElement === text ? text.selectionStart : text.value.length;
    query.value = "";
    list.hidden = true;
    dialog.showModal();
    look();
  }
  form.querySelector("[data-action=earlier]").addEventListener("click", search);

  text.addEventListener("input", show);
  show();
  return {
    all: () => seen,
    restore: (suggested) => {
      seen = [...suggested];
      show();
    },
    show,
    take,
    search,
  };
}
