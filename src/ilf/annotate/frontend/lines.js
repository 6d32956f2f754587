// Words about lines: choosing lines of the wrong program, and what is said of them shown below them. A note is a line
// of the text, "Line 4: …" or "Lines 4-6: …" (ilf/notes.py), so the text area holds all there is.
const NOTE = /^[ \t]*lines?[ \t]*(\d{1,6})(?:[ \t]*[-–—][ \t]*(\d{1,6}))?[ \t]*:(.*)$/is;
const EMPTY = /^Lines? \d+(?:-\d+)?: ?$/; // begun, nothing said yet

function notesIn(text) {
  const notes = [];
  for (const line of text.split("\n")) {
    const found = NOTE.exec(line);
    if (!found || !found[3].trim()) continue;
    const first = Number(found[1]);
    const last = Number(found[2] ?? found[1]);
    if (first >= 1 && last >= first) notes.push({ first, last, text: found[3].trim().replace(/\s+/g, " ") });
  }
  return notes;
}

const where = (first, last) => (first === last ? `Line ${first}` : `Lines ${first}-${last}`);

export function setUpLines(form, text) {
  const said = document.getElementById("line-picked");
  const region = () => form.querySelector(".tab-input:checked + .tab + .tab-panel .code");
  const rows = () => [...region().querySelectorAll("tr[data-number]")];
  let from = 0; // where the choice began, and where it is now; 0: nothing is chosen
  let to = 0;
  let digits = "";
  let drag = null;

  // What is said, below its last line ------------------------------------------------------------------------
  let shown = "";
  function show() {
    const notes = notesIn(text.value);
    const now = JSON.stringify([form.querySelector("[name=candidate]:checked")?.value, notes]);
    if (now === shown) return;
    shown = now;
    for (const row of form.querySelectorAll("tr.said")) row.remove();
    for (const row of form.querySelectorAll("tr.noted")) row.classList.remove("noted");
    const all = rows();
    for (const note of notes) {
      for (const row of all.slice(note.first - 1, note.last)) row.classList.add("noted");
      let last = all[note.last - 1];
      if (!last) continue;
      while (last.nextElementSibling?.classList.contains("said")) last = last.nextElementSibling;
      const row = document.createElement("tr");
      row.className = "said";
      row.insertCell().className = "no";
      row.cells[0].setAttribute("aria-hidden", "true");
      const cell = row.insertCell();
      cell.append(Object.assign(document.createElement("span"), { className: "muted", textContent: `${where(note.first, note.last)}:` }), " ", note.text);
      last.after(row);
    }
  }

  // Choosing -------------------------------------------------------------------------------------------------
  function mark(a, b) {
    [from, to] = [a, b];
    const [first, last] = [Math.min(a, b), Math.max(a, b)];
    const all = rows();
    all.forEach((row, at) => row.classList.toggle("chosen", at + 1 >= first && at + 1 <= last));
    if (!a) return;
    // Of the region alone: scrolling the page would take the text area out of sight.
    const box = region();
    const row = all[b - 1];
    if (row.offsetTop < box.scrollTop) box.scrollTop = row.offsetTop;
    else if (row.offsetTop + row.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = row.offsetTop + row.offsetHeight - box.clientHeight;
  }
  const clear = () => {
    for (const row of form.querySelectorAll("tr.chosen")) row.classList.remove("chosen");
    from = to = 0;
    digits = "";
  };
  const tell = () => {
    const words = from === to ? rows()[to - 1].querySelector(".src").textContent.trim() : "";
    said.textContent = where(Math.min(from, to), Math.max(from, to)) + (words && `: ${words}`);
  };

  function write() {
    const [first, last] = [Math.min(from, to), Math.max(from, to)];
    clear();
    const head = `${where(first, last)}: `;
    const lines = text.value.split("\n");
    let at = lines.findIndex((line) => EMPTY.test(line)); // begun before, and left: this one takes its place
    if (at < 0) at = lines.findIndex((line) => line.startsWith(head)); // more words on the same lines
    else lines[at] = head;
    if (at < 0) {
      if (lines.length === 1 && !lines[0]) lines.pop();
      else while (lines.length && !lines.at(-1).trim()) lines.pop();
      at = lines.push(head) - 1;
    }
    const caret = lines.slice(0, at + 1).join("\n").length;
    text.value = lines.join("\n");
    text.focus();
    text.setSelectionRange(caret, caret);
    text.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function choose() {
    const box = region();
    box.focus({ preventScroll: true });
    box.scrollIntoView({ block: "nearest" });
    const error = Number(form.querySelector("[name=candidate]:checked").dataset.line) || 1;
    const start = Math.min(error, rows().length);
    mark(start, start);
    tell();
  }

  // The keys while lines are chosen; says whether it took the key.
  function choosing(event) {
    if (!from || event.ctrlKey || event.metaKey || event.altKey) return false;
    const most = rows().length;
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -most, End: most };
    const within = (line) => Math.max(1, Math.min(most, line));
    if (event.key in steps) {
      const next = within(to + steps[event.key]);
      mark(event.shiftKey ? from : next, next);
      digits = "";
      tell();
    } else if (/^\d$/.test(event.key) && (digits || event.key !== "0")) {
      digits = Number(digits + event.key) <= most ? digits + event.key : event.key;
      mark(within(Number(digits)), within(Number(digits)));
      tell();
    } else if (event.key === "Enter") write();
    else if (event.key === "Tab" || event.key === "Shift") return false;
    else if (!/^[A-Za-z]$/.test(event.key)) return false;
    else {
      clear(); // another key of the page: it does what it always does
      return false;
    }
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  // The pointer: a click, a drag over numbers, Shift and a click; a finger's second tap makes a range of the first.
  const numberAt = (event) => {
    const row = document.elementFromPoint(event.clientX, event.clientY)?.closest("tr[data-number]");
    return row && region().contains(row) ? Number(row.dataset.number) : 0;
  };
  const begun = () => {
    const found = text.value.split("\n").find((line) => EMPTY.test(line));
    return found ? Number(/\d+/.exec(found)[0]) : 0;
  };
  form.addEventListener("pointerdown", (event) => {
    if (event.button || !event.target.closest(".pick .no")) return;
    const line = numberAt(event);
    if (!line) return;
    const earlier = event.shiftKey || event.pointerType === "touch" ? begun() : 0;
    event.preventDefault(); // no selection of text, and the text area keeps the focus
    drag = event.pointerId;
    mark(earlier || line, line);
  });
  addEventListener("pointermove", (event) => {
    if (drag !== event.pointerId) return;
    const line = numberAt(event);
    if (line && line !== to) mark(from, line);
  });
  addEventListener("pointerup", (event) => {
    if (drag !== event.pointerId) return;
    drag = null;
    if (from) write();
  });
  addEventListener("pointercancel", () => {
    if (drag !== null) clear();
    drag = null;
  });
  form.addEventListener("focusout", (event) => event.target.matches?.(".pick") && clear());
  // A note that was begun and left without a word is no part of the text.
  text.addEventListener("blur", () => {
    if (drag !== null || !begun()) return;
    text.value = text.value.split("\n").filter((line) => !EMPTY.test(line)).join("\n");
    text.dispatchEvent(new Event("input", { bubbles: true }));
  });
  form.querySelector("[data-action=lines]").addEventListener("click", choose);
  show();
  return { show, choose, choosing };
}
