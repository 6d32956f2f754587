// The annotator's workspace: editor, drafts, live warnings, running, submitting.
import { distance } from "fastest-levenshtein";
import { Drafts, base as root } from "./drafts.js";
import { setUpLines } from "./lines.js";
import { setUpSuggestions } from "./suggest.js";
import { makeEditor, setUpTab } from "./editor.js";

const COMPARED = 20_000; // characters: past this only the server computes edit distances

export function setUpWork(form, csrf, htmx) {
  const $ = (selector) => form.querySelector(selector);
  const originals = JSON.parse(document.getElementById("originals").textContent);
  const server = JSON.parse(document.getElementById("server-draft").textContent);
  const text = $("#text");
  const area = $("#refinement");
  const radios = [...form.querySelectorAll("[name=candidate]")];
  const picked = () => radios.find((radio) => radio.checked) ?? radios[0];
  const original = () => originals[picked().value] ?? "";
  let base = original();
  let quiet = true; // while the page sets itself up, nothing counts as a change

  const editor = makeEditor($("#editor"), area, base, () => {
    drafts.form.dataset.checked = "";
    changed();
  });

  const collect = () => ({
    candidate: Number(picked().value),
    text: text.value,
    tags: [...form.querySelectorAll("[name=tags]:checked")].map((box) => box.value),
    bugs: $("[name=bugs]").value,
    refinement: area.value,
    suggested: suggestions.all(),
  });
  const apply = (draft) => {
    quiet = true;
    const radio = radios.find((r) => r.value === String(draft.candidate));
    if (radio) radio.checked = true;
    base = original();
    editor.setOriginal(base);
    text.value = draft.text ?? "";
    for (const box of form.querySelectorAll("[name=tags]")) box.checked = (draft.tags ?? []).includes(box.value);
    $("[name=bugs]").value = draft.bugs ?? "";
    editor.set(draft.refinement || base);
    quiet = false;
    suggestions.restore(draft.suggested ?? []);
    lines.show();
    measure();
  };

  const lines = setUpLines(form, text);
  const suggestions = setUpSuggestions(form, text, server.draft.suggested, picked);
  const drafts = new Drafts({
    form,
    csrf,
    version: server.version,
    person: document.querySelector("meta[name=person]").content,
    collect,
    apply,
    onSaved: ({ hints, distance: far }) => {
      showHints(hints);
      if (Math.max(base.length, area.value.length) > COMPARED) showDistance(far);
    },
    onConflict: showConflict,
  });

  function changed() {
    if (quiet) return;
    // A retried submission may be answered from memory; a changed one is another request.
    $("[name=key]").value = crypto.randomUUID?.() ?? String(Math.random());
    lines.show();
    measure();
    drafts.changed();
  }

  function measure() {
    const words = text.value.split(/\s+/).filter(Boolean).length;
    document.getElementById("words").textContent = words ? `${words} word${words === 1 ? "" : "s"}` : "";
    const now = area.value;
    // A long text's distance comes with the server's next reply.
    if (now === base) showDistance(0);
    else showDistance(Math.max(base.length, now.length) > COMPARED ? null : distance(base, now));
  }

  function showDistance(far) {
    const out = document.getElementById("distance");
    if (far === null) {
      out.textContent = "";
      return;
    }
    const most = Math.ceil(0.5 * Math.max(base.length, area.value.length)) - 1;
    out.textContent = far ? `edit distance ${far} of at most ${most}` : "unchanged";
    out.classList.toggle("over", far > most);
    out.classList.toggle("changed", far > 0 && far <= most);
  }

  function showHints(hints) {
    const list = document.getElementById("hints");
    const now = [...list.children].map((entry) => entry.dataset.code).join();
    if (now === hints.map((hint) => hint.code).join()) return;
    list.replaceChildren(
      ...hints.map((hint) => {
        const entry = document.createElement("li");
        entry.dataset.code = hint.code;
        entry.textContent = hint.text;
        return entry;
      }),
    );
  }

  function showConflict(other) {
    const box = document.getElementById("conflict");
    const say = (tag, content, name = "") => Object.assign(document.createElement(tag), { textContent: content, className: name });
    const mine = say("button", "Keep what is here");
    const theirs = say("button", "Use the other one");
    mine.type = theirs.type = "button";
    const done = (draft) => () => {
      box.hidden = true;
      drafts.resolve(other.version, draft);
    };
    mine.addEventListener("click", done(null));
    theirs.addEventListener("click", done(other.draft));
    const row = say("p", "", "row");
    row.append(mine, theirs);
    box.replaceChildren(
      say("b", "This task was changed in another tab or by a reviewer."),
      say("p", "Nothing is overwritten. The other text is:"),
      say("pre", other.draft.text || "(no feedback yet)", "other-text"),
      row,
    );
    box.hidden = false;
    mine.focus();
  }

  // Running ------------------------------------------------------------------------------------------------
  async function run(what) {
    const result = document.getElementById("result");
    result.classList.add("busy");
    const target = what === "try" ? $("#target").value : "refinement";
    const values = { ...Object.fromEntries(drafts.body()), do: what, target };
    await htmx.ajax("POST", `${root}/items/${drafts.item}/run`, { target: "#result", swap: "innerHTML", values });
    result.classList.remove("busy");
    const line = Number(result.querySelector("[data-line]")?.dataset.line) || null;
    editor.mark(what === "tests" || target === "refinement" ? line : null);
    result.firstElementChild?.scrollIntoView({ block: "nearest" });
  }
  document.body.addEventListener("htmx:responseError", (event) => complain(event.detail.xhr));
  document.body.addEventListener("htmx:sendError", () => complain(null));
  function complain(request) {
    let said = "no connection to the server";
    if (request) {
      const page = new DOMParser().parseFromString(request.responseText, "text/html");
      said = page.querySelector("[role=alert]")?.textContent ?? request.statusText;
    }
    const note = Object.assign(document.createElement("p"), { className: "note bad", textContent: `Not run: ${said}` });
    document.getElementById("result").replaceChildren(note);
  }

  // Leaving ------------------------------------------------------------------------------------------------
  let leaving = false;
  async function leave(path, extra) {
    if (leaving) return;
    leaving = true;
    // The last words first: a warning, a refusal or a skip must not leave them in this page only.
    if (drafts.flying || drafts.dirty) await drafts.send();
    clearTimeout(drafts.timer);
    try {
      const reply = await drafts.post(path, extra);
      const said = await reply.json().catch(() => ({}));
      if (said.next) {
        drafts.close();
        location.assign(said.next);
        return;
      }
      if (said.conflict) showConflict(said.conflict);
      else if (said.hints) warn(said.hints);
      else drafts.say(`Not ${path === "skip" ? "skipped" : "submitted"}: ${said.error ?? reply.statusText}`, true);
    } catch {
      drafts.retry(`Not ${path === "skip" ? "skipped" : "submitted"}: no connection to the server. Your text is kept; try again.`);
    }
    leaving = false;
  }

  function warn(hints) {
    showHints(hints);
    const seen = new Set([...form.querySelectorAll("[name=seen]")].map((input) => input.value));
    for (const { code } of hints) {
      if (!seen.has(code)) form.append(Object.assign(document.createElement("input"), { type: "hidden", name: "seen", value: code }));
    }
    const button = $("[data-submit=feedback]");
    button.firstChild.textContent = "Submit anyway ";
    drafts.say("Look at the warning; submit again to go on.");
    document.getElementById("hints").scrollIntoView({ block: "nearest" });
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = event.submitter;
    const here = document.activeElement;
    // Enter in a field presses the form's first button, whichever that is.
    if (here?.id === "expression") run("try");
    else if (here?.id === "note") leave("skip");
    else if (button?.dataset.run) run(button.dataset.run);
    else if (button?.hasAttribute("data-skip")) leave("skip");
    else if (button?.dataset.submit) leave("submit", { kind: button.dataset.submit });
  });

  for (const radio of radios) {
    radio.addEventListener("change", () => {
      const untouched = area.value === base || !area.value.trim();
      base = original();
      quiet = true;
      editor.setOriginal(base);
      if (untouched) editor.set(base);
      quiet = false;
      suggestions.show();
      changed();
    });
  }
  text.addEventListener("input", changed);
  for (const field of form.querySelectorAll("[name=tags], [name=bugs]")) field.addEventListener("input", changed);
  $("[data-action=restart]").addEventListener("click", () => editor.set(original()));
  setUpTab($("#tab-indents"));
  document.addEventListener("wrap", (event) => editor.wrap(event.detail));
  document.addEventListener("resized", () => editor.measure());
  editor.wrap(document.body.classList.contains("wrap"));
  $("#show-diff").addEventListener("change", (event) => editor.showDiff(event.target.checked));
  $("#skip-menu").addEventListener("toggle", (event) => event.target.open && $("#reason").focus());

  // A reload can overtake a save: this page may be older than what this browser knows the server to have.
  const kept = drafts.kept();
  const differs = kept && JSON.stringify(kept.draft) !== JSON.stringify(collect());
  quiet = false;
  if (differs && kept.version > server.version) {
    drafts.version = kept.version;
    apply(kept.draft);
    if (kept.synced) drafts.say("Everything is saved.");
    else drafts.changed();
  } else if (differs && !kept.synced && kept.version === server.version) {
    apply(kept.draft);
    drafts.changed();
    drafts.say("Restored what you had typed here.");
  } else if (differs && !kept.synced) {
    // The server moved on without this text: let the person choose.
    apply(kept.draft);
    drafts.blocked = true;
    showConflict({ version: server.version, draft: server.draft });
  } else {
    drafts.forget();
    drafts.say(server.draft.text ? "Everything is saved." : "Saved as you type.");
  }
  measure();

  const go = (step) => {
    const next = radios[radios.indexOf(picked()) + step];
    if (next) next.click();
  };
  return {
    run: () => run(document.activeElement?.closest(".try") ? "try" : "tests"),
    submit: () => leave("submit", { kind: "feedback" }),
    pick: (number) => radios[number - 1]?.click(),
    next: () => go(1),
    previous: () => go(-1),
    feedback: () => text.focus(),
    verdict: () => suggestions.take("verdict"),
    model: () => suggestions.take("model"),
    earlier: suggestions.search,
    lines: lines.choose,
    choosing: lines.choosing,
    tags: () => $("[name=tags]").focus(),
    refinement: () => editor.focus(),
    try: () => $("#expression").focus(),
    changes: () => $("#show-diff").click(),
    skip: () => ($("#skip-menu").open = true),
  };
}
