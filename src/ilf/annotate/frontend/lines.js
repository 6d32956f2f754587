// Words about lines: a click, a drag or `l` and the arrows begin a note ("Line 4: …") in the feedback, and what the
// feedback says about lines stands beside them. The text is the only copy; feedback/notes.py reads it in the same way.
const HEAD = /^[ \t]*lines?[ \t]+(\d{1,6})(?:[ \t]*(?:-|–|—|to)[ \t]*(\d{1,6}))?[ \t]*:[ \t]*/i;

// The notes of a text: [{first, last, text, end}], `end` the place in the text behind the note's last character.
export function notesOf(text) {
  const notes = [];
  let at = 0;
  let open = null;
  for (const line of text.split("\n")) {
    const head = HEAD.exec(line);
    const first = head ? Number(head[1]) : 0;
    const last = head ? Number(head[2] ?? head[1]) : 0;
    if (head && first >= 1 && first <= last) {
      open = { first, last, text: line.slice(head[0].length).trim(), end: at + line.length };
      notes.push(open);
    } else if (open && line.trim()) {
      open.text = `${open.text}\n${line.trim()}`.trim();
      open.end = at + line.length;
    } else open = null;
    at += line.length + 1;
  }
  return notes;
}

const headOf = (first, last) => (first === last ? `Line ${first}: ` : `Lines ${first}-${last}: `);

// The rows of a program: numbered ones only, not those that hold notes.
const rowsOf = (table) => [...table.querySelectorAll("tr[data-line]")];

export function setUpLines(form, text, current) {
  const status = document.getElementById("line-status");
  let from = 1; // where the selection was begun
  let to = 1; // and where it has got to
  let choosing = false;

  const table = () => current()?.querySelector(".code table");
  const numberAt = (target) => {
    const cell = target?.closest?.(".code .no");
    const row = cell?.closest("tr[data-line]");
    return row && table()?.contains(row) ? Number(row.dataset.line) : null;
  };
  const span = () => [Math.min(from, to), Math.max(from, to)];

  function paint(on) {
    const [first, last] = span();
    for (const row of form.querySelectorAll("tr.chosen")) row.classList.remove("chosen");
    if (!on || !table()) return;
    for (const row of rowsOf(table())) row.classList.toggle("chosen", Number(row.dataset.line) >= first && Number(row.dataset.line) <= last);
    rowsOf(table())[to - 1]?.scrollIntoView({ block: "nearest" });
    if (status) status.textContent = first === last ? `Line ${first}` : `Lines ${first} to ${last}`;
  }

  // Go to the note on these lines, or begin one behind all others; what is said in general stays where it is.
  function write() {
    const [first, last] = span();
    paint(false);
    choosing = false;
    const notes = notesOf(text.value);
    const known = notes.find((note) => note.first === first && note.last === last);
    let place = known?.end;
    if (place === undefined) {
      const unfinished = new RegExp(`^${headOf(first, last).trim()}\\s*$`, "m").exec(text.value);
      const before = notes.length ? text.value.slice(0, notes.at(-1).end) : "";
      const after = notes.length ? text.value.slice(notes.at(-1).end) : text.value;
      if (unfinished) place = unfinished.index + unfinished[0].length;
      else {
        const added = (before ? "\n" : "") + headOf(first, last);
        const rest = after.trim() ? (notes.length ? after : `\n\n${after}`) : "";
        text.value = before + added + rest;
        place = before.length + added.length;
        text.dispatchEvent(new Event("input", { bubbles: true }));
      }
    }
    text.focus();
    text.setSelectionRange(place, place);
  }

  form.addEventListener("pointerdown", (event) => {
    const number = event.button === 0 ? numberAt(event.target) : null;
    if (number === null) return;
    if (event.pointerType === "mouse") event.preventDefault(); // no selection of text
    if (!event.shiftKey) from = number;
    to = number;
    choosing = true;
    event.target.releasePointerCapture?.(event.pointerId); // a finger's moves go to the lines it is over
    paint(true);
  });
  form.addEventListener("pointermove", (event) => {
    if (!choosing || !event.buttons) return;
    const number = numberAt(document.elementFromPoint(event.clientX, event.clientY));
    if (number !== null && number !== to) {
      to = number;
      paint(true);
    }
  });
  form.addEventListener("pointerup", (event) => {
    if (choosing && numberAt(event.target) !== null) write();
  });
  // The mouse events that follow a finger's would take the focus away again.
  form.addEventListener("touchend", (event) => numberAt(event.target) !== null && event.preventDefault());
  document.addEventListener("pointercancel", () => {
    choosing = false;
    paint(false);
  });

  // By keyboard: `l`, arrows, Shift extends, Enter writes, Esc leaves.
  function start() {
    const lines = table() ? rowsOf(table()) : [];
    if (!lines.length) return;
    from = to = Number(lines.find((row) => row.classList.contains("error"))?.dataset.line ?? 1);
    choosing = true;
    table().closest(".code").focus({ preventScroll: true });
    paint(true);
  }
  document.addEventListener(
    "keydown",
    (event) => {
      if (!choosing || !document.activeElement?.matches(".code")) return;
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const most = rowsOf(table()).length;
      if (step) {
        to = Math.min(most, Math.max(1, to + step));
        if (!event.shiftKey) from = to;
        paint(true);
      } else if (event.key === "Home" || event.key === "End") {
        to = event.key === "Home" ? 1 : most;
        if (!event.shiftKey) from = to;
        paint(true);
      } else if (event.key === "Enter") write();
      else if (event.key === "Escape" || event.key === "Tab") {
        choosing = false;
        paint(false);
        return;
      } else return;
      event.preventDefault();
      event.stopPropagation();
    },
    true,
  );

  // What the feedback says about lines, below the last of them.
  function show() {
    for (const row of form.querySelectorAll("tr.line-note")) row.remove();
    for (const row of form.querySelectorAll("tr.noted")) row.classList.remove("noted");
    if (!table()) return;
    const lines = rowsOf(table());
    for (const { first, last, text: said } of notesOf(text.value)) {
      if (!said || last > lines.length) continue;
      lines.slice(first - 1, last).forEach((row) => row.classList.add("noted"));
      const row = document.createElement("tr");
      row.className = "line-note";
      row.append(document.createElement("td"), document.createElement("td"));
      if (first < last) row.lastChild.append(Object.assign(document.createElement("span"), { className: "muted", textContent: `Lines ${first}–${last}: ` }));
      row.lastChild.append(said);
      let place = lines[last - 1];
      while (place.nextElementSibling?.classList.contains("line-note")) place = place.nextElementSibling;
      place.after(row);
    }
  }
  show();
  return { start, show };
}
