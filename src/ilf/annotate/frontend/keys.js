// The keyboard: bare keys while nothing is being typed, Ctrl+Enter and Ctrl+Shift+Enter always, `?` for help.
const STORE = "ilf:keys";

// Action, key, what it does. Other keys can be chosen in the help.
const BARE = [
  ["next", "j", "Next wrong program"],
  ["previous", "k", "Previous wrong program"],
  ["feedback", "f", "Write feedback"],
  ["lines", "l", "Choose lines to say something about"],
  ["verdict", "v", "Put the verdict's sentence into the text"],
  ["model", "m", "Put the model's draft into the text"],
  ["tags", "b", "Kinds of bug"],
  ["refinement", "e", "Edit the refinement"],
  ["try", "x", "Try the program on an input"],
  ["changes", "w", "Show or hide the changes"],
  ["skip", "s", "Skip the task, or say that the tests are wrong"],
  ["undo", "u", "Undo the last submission or skip"],
];
const FIXED = [
  [["1", "…", "9"], "Pick a wrong program"],
  [["↑", "↓"], "After l: another line; with Shift, more lines; or type its number. Enter: write about them"],
  [["Ctrl", "Enter"], "Run the tests (in “Try”: run the input)"],
  [["Ctrl", "Shift", "Enter"], "Submit"],
  [["Ctrl", "K"], "Search what you wrote before (where suggestions are on)"],
  [["Esc"], "Leave a text field (then the keys above work)"],
  [["Tab"], "Go on to the next field, in the editor too (there is a switch below it for indenting)"],
  [["Ctrl", "]"], "In the editor: indent these lines; Ctrl [ the other way"],
  [["?"], "These keys"],
];

function typing(element) {
  return Boolean(element?.closest("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable=true], dialog"));
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(STORE) ?? "{}");
  } catch {
    return {};
  }
}

export function setUpKeys(actions) {
  const chosen = read();
  const keyOf = (name, standard) => chosen[name] ?? standard;
  const all = { undo: () => document.querySelector("[data-action=undo]")?.click(), ...actions };
  const dialog = help(keyOf, (name, key) => {
    chosen[name] = key;
    localStorage.setItem(STORE, JSON.stringify(chosen));
  });
  for (const button of document.querySelectorAll("[data-action=help]")) button.addEventListener("click", () => dialog.showModal());

  document.addEventListener(
    "keydown",
    (event) => {
      if (event.isComposing) return;
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.altKey) {
        const action = event.shiftKey ? all.submit : all.run;
        if (!action) return;
        event.preventDefault();
        event.stopPropagation();
        if (!event.repeat) action();
        return;
      }
      if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && all.earlier) {
        event.preventDefault();
        if (!document.querySelector("dialog[open]")) all.earlier();
        return;
      }
      const here = document.activeElement;
      if (event.key === "Escape") {
        const menu = document.querySelector("details.menu[open]");
        if (menu) menu.open = false;
        if ((typing(here) || here?.closest(".pick")) && !here.closest("dialog")) {
          here.blur();
          document.querySelector("main").focus({ preventScroll: true });
        }
        return;
      }
      if (all.choosing?.(event)) return;
      if (typing(here) || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "?") {
        event.preventDefault();
        dialog.showModal();
        return;
      }
      const marked = [...document.querySelectorAll("[data-key]")].find((e) => e.dataset.key === event.key);
      const bare = BARE.find(([name, standard]) => keyOf(name, standard) === event.key.toLowerCase());
      // By position, so that the digits work on keyboards that need Shift for them.
      const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code)?.[1];
      if (marked) {
        event.preventDefault();
        marked.tagName === "TEXTAREA" ? marked.focus() : marked.click();
      } else if (bare && all[bare[0]]) {
        event.preventDefault();
        all[bare[0]]();
      } else if (digit && all.pick && !event.shiftKey) {
        event.preventDefault();
        all.pick(Number(digit));
      }
    },
    true,
  );
}

function help(keyOf, change) {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "keys-title");
  const title = Object.assign(document.createElement("h2"), { id: "keys-title", textContent: "Keys" });
  const hint = Object.assign(document.createElement("p"), {
    className: "muted small",
    textContent: "Single keys work while you are not typing. To change one, type another letter into its box.",
  });
  const table = document.createElement("table");
  const taken = () => [...table.querySelectorAll("input")].map((input) => input.value);
  for (const [name, standard, text] of BARE) {
    const row = table.insertRow();
    row.insertCell().textContent = text;
    const input = Object.assign(document.createElement("input"), { value: keyOf(name, standard), maxLength: 1 });
    input.setAttribute("aria-label", `Key for: ${text}`);
    input.addEventListener("focus", () => input.select());
    input.addEventListener("change", () => {
      const key = input.value.trim().toLowerCase();
      const free = /^\p{L}$/u.test(key) && taken().filter((other) => other.toLowerCase() === key).length === 1;
      if (free) change(name, key);
      input.value = keyOf(name, standard);
    });
    row.insertCell().append(input);
  }
  for (const [keys, text] of FIXED) {
    const row = table.insertRow();
    row.insertCell().textContent = text;
    row.insertCell().append(...keys.map((key) => Object.assign(document.createElement("kbd"), { textContent: key })));
  }
  const close = Object.assign(document.createElement("button"), { textContent: "Close", type: "button" });
  close.addEventListener("click", () => dialog.close());
  dialog.append(title, hint, table, document.createElement("hr"), close);
  document.body.append(dialog);
  return dialog;
}
