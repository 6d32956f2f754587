"use strict";
// The explorer over tasks. All text comes from models and people: it enters the page as text nodes only.
const PAGE = 25;
const root = document.documentElement;

function element(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "class") node.className = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

// ---- light and dark
const themeButton = document.getElementById("theme");
const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const nameTheme = () => { themeButton.textContent = isDark() ? "Light" : "Dark"; };
themeButton.hidden = false;
themeButton.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; nameTheme(); });
nameTheme();

// ---- code: highlighting and diffs
const TOKEN = /(#[^\n]*)|("""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?)|\b(False|None|True|and|as|assert|break|class|continue|def|del|elif|else|except|finally|for|from|global|if|import|in|is|lambda|nonlocal|not|or|pass|raise|return|try|while|with|yield)\b|\b(\d[\w.]*)\b/g;

// The code as [class, text] pieces.
function tokens(code) {
  const pieces = [];
  let last = 0;
  for (const match of code.matchAll(TOKEN)) {
    if (match.index > last) pieces.push(["", code.slice(last, match.index)]);
    const kind = match[1] !== undefined ? "c" : match[2] !== undefined ? "s" : match[3] !== undefined ? "k" : "u";
    pieces.push([kind, match[0]]);
    last = match.index + match[0].length;
  }
  if (last < code.length) pieces.push(["", code.slice(last)]);
  return pieces;
}

// Lines of the code, each a list of [class, text] pieces.
function lines(code) {
  const rows = [[]];
  for (const [kind, text] of tokens(code)) {
    text.split("\n").forEach((part, index) => {
      if (index) rows.push([]);
      if (part) rows[rows.length - 1].push([kind, part]);
    });
  }
  return rows;
}

// A line as a node; characters from `start` to `end` are marked.
function row(pieces, change, start = 0, end = 0) {
  const sign = change === "add" ? "+ " : change === "del" ? "- " : change === "same" ? "  " : "";
  const line = element("span", { class: `row ${change || ""}` }, sign);
  let at = 0;
  for (const [kind, text] of pieces) {
    for (const [from, to, marked] of [[0, start - at, false], [start - at, end - at, true], [end - at, text.length, false]]) {
      const part = text.slice(Math.max(from, 0), Math.max(Math.min(to, text.length), 0));
      if (!part || to <= from) continue;
      const inner = kind ? element("span", { class: kind }, part) : document.createTextNode(part);
      line.append(marked ? element("mark", {}, inner) : inner);
    }
    at += text.length;
  }
  return line;
}

// What is said of single lines stands below the last of them.
function codeBlock(code, notes) {
  const block = element("pre", { tabindex: "0" });
  lines(code.replace(/\r\n?/g, "\n").replace(/\s+$/, "")).forEach((pieces, at) => {
    const about = (notes || []).filter(([first, last]) => first <= at + 1 && at + 1 <= last);
    block.append(row(pieces, about.length ? "noted" : ""));
    for (const [first, last, text] of about) {
      if (last === at + 1) block.append(element("span", { class: "said" }, `${first === last ? `Line ${first}` : `Lines ${first}-${last}`}: ${text}`));
    }
  });
  return block;
}

// Longest common subsequence of lines: a list of ["same" | "del" | "add", index].
function compare(a, b) {
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  const steps = [];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { steps.push(["same", j++]); i++; }
    else if (i < a.length && (j >= b.length || table[i + 1][j] >= table[i][j + 1])) steps.push(["del", i++]);
    else steps.push(["add", j++]);
  }
  return steps;
}

// Where two lines differ, by their common start and end: [start, end of a, end of b].
function middle(a, b) {
  let start = 0, tail = 0;
  const most = Math.min(a.length, b.length);
  while (start < most && a[start] === b[start]) start++;
  while (tail < most - start && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  return [start, a.length - tail, b.length - tail];
}

function diffBlock(before, after) {
  const clean = (code) => code.replace(/\r\n?/g, "\n").replace(/[ \t]+$/gm, "").replace(/\s+$/, "");
  const a = lines(clean(before)), b = lines(clean(after));
  const plain = (rows) => rows.map((pieces) => pieces.map((piece) => piece[1]).join(""));
  const left = plain(a), right = plain(b);
  const block = element("pre", { tabindex: "0", class: "diff" });
  if (left.length * right.length > 4e6) { block.append("(too long to compare)\n", after); return block; }
  const steps = compare(left, right);
  for (let at = 0; at < steps.length;) {
    if (steps[at][0] === "same") { block.append(row(b[steps[at++][1]], "same")); continue; }
    const removed = [], added = [];
    while (at < steps.length && steps[at][0] !== "same") (steps[at][0] === "del" ? removed : added).push(steps[at++][1]);
    const marks = removed.map((x, k) => (k < added.length ? middle(left[x], right[added[k]]) : [0, 0, 0]));
    // A line that shares next to nothing with its partner is new, not changed.
    const close = (k) => k < marks.length && k < added.length && marks[k][1] - marks[k][0] < 0.7 * left[removed[k]].length;
    removed.forEach((x, k) => block.append(row(a[x], "del", ...(close(k) ? [marks[k][0], marks[k][1]] : []))));
    added.forEach((y, k) => block.append(row(b[y], "add", ...(close(k) ? [marks[k][0], marks[k][2]] : []))));
  }
  return block;
}

// ---- items
function heading(sample, extra) {
  const share = sample.n ? ` · ${sample.passed} of ${sample.n} samples pass` : "";
  return element("h3", {}, sample.label + share + " ",
    sample.status ? element("span", { class: `status ${sample.status}` }, sample.status) : null, extra || null);
}

function body(item) {
  const box = element("div", { class: "body" });
  if (item.description) box.append(element("p", {}, item.description));
  if (item.wrong) box.append(heading(item.wrong), codeBlock(item.wrong.code, item.notes));
  if (item.wrong && item.wrong.detail) box.append(element("p", { class: "note" }, item.wrong.detail));
  if (item.feedback) {
    box.append(element("h3", {}, item.author ? `Feedback (${item.author})` : "Feedback"), element("blockquote", {}, item.feedback));
  }
  if (item.refinement) {
    box.append(heading(item.refinement), item.wrong ? diffBlock(item.wrong.code, item.refinement.code) : codeBlock(item.refinement.code));
    if (item.refinement.detail) box.append(element("p", { class: "note" }, item.refinement.detail));
  }
  if (item.samples.length) {
    const pair = element("div", { class: "pair" });
    for (const sample of item.samples) {
      pair.append(element("div", {}, heading(sample), codeBlock(sample.code),
        sample.detail ? element("p", { class: "note" }, sample.detail) : null));
    }
    box.append(pair);
  }
  return box;
}

const anchor = (id) => `task-${encodeURIComponent(id)}`;

function card(item) {
  const first = item.description.trim().split("\n")[0] || (item.samples[0] ? item.samples[0].label : "");
  const node = element("details", { class: "item", id: anchor(item.task_id) },
    element("summary", {}, element("a", { class: "id", href: `#${anchor(item.task_id)}` }, item.task_id), element("span", { class: "d" }, first),
      item.state ? element("span", { class: `state ${item.state.replace(/ /g, "-")}` }, item.state) : null));
  node.fill = () => { if (node.children.length === 1) node.append(body(item)); };
  node.addEventListener("toggle", () => { if (node.open) node.fill(); });
  return node;
}

function explorer(all) {
  const get = (id) => document.getElementById(id);
  const state = get("state"), find = get("find"), seed = get("seed");
  const seeds = [...new Set(all.map((item) => item.seed))];
  for (const name of seeds) seed.append(element("option", {}, name));
  seed.parentElement.hidden = seeds.length < 2;
  let items = [];
  function sow() {  // the items of the chosen seed, and how many there are in each state
    items = all.filter((item) => item.seed === seed.value);
    const tally = new Map(), chosen = state.value;
    for (const item of items) if (item.state) tally.set(item.state, (tally.get(item.state) || 0) + 1);
    state.replaceChildren(element("option", { value: "" }, "all"), ...[...tally].map(([name, size]) => element("option", { value: name }, `${name} (${size})`)));
    state.value = tally.has(chosen) ? chosen : "";
  }
  sow();
  const texts = new Map();  // made at the first search: it doubles the memory that the items take
  const text = (item) => {
    if (!texts.has(item)) texts.set(item, JSON.stringify(item).toLowerCase());
    return texts.get(item);
  };
  let shown = items, page = 0;

  function draw() {
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    get("items").replaceChildren(...shown.slice(page * PAGE, (page + 1) * PAGE).map(card));
    get("count").textContent = `${shown.length.toLocaleString("en")} of ${items.length.toLocaleString("en")}`;
    get("where").textContent = `page ${page + 1} of ${pages}`;
    get("back").disabled = page === 0;
    get("next").disabled = page === pages - 1;
  }
  function filter() {
    const word = find.value.trim().toLowerCase();
    shown = items.filter((item) => (!state.value || item.state === state.value) && (!word || item.task_id.toLowerCase() === word || text(item).includes(word)));
    page = 0;
    draw();
  }
  function follow() {
    const wanted = location.hash.slice(1);
    if (!wanted.startsWith("task-")) return;
    const index = items.findIndex((item) => anchor(item.task_id) === wanted);
    if (index < 0) return;
    if (!shown.includes(items[index])) { state.value = ""; find.value = ""; shown = items; }
    page = Math.floor(shown.indexOf(items[index]) / PAGE);
    draw();
    const node = get(wanted);
    node.open = true;
    node.scrollIntoView();
  }
  let waiting = 0;
  find.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 150); });
  state.addEventListener("change", filter);
  seed.addEventListener("change", () => { sow(); filter(); });
  get("filter").addEventListener("submit", (event) => { event.preventDefault(); filter(); });
  get("back").addEventListener("click", () => { page--; draw(); });
  get("next").addEventListener("click", () => { page++; draw(); });
  addEventListener("hashchange", follow);
  // Paper cannot be clicked: what is on this page of the explorer is printed in full.
  addEventListener("beforeprint", () => document.querySelectorAll("#items .item").forEach((node) => { node.fill(); node.open = true; }));
  draw();
  follow();
}

async function load() {
  const packed = document.getElementById("data");
  if (!packed) return;
  try {
    const bytes = Uint8Array.from(atob(packed.textContent.trim()), (char) => char.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    explorer(JSON.parse(await new Response(stream).text()));
  } catch (error) {
    document.getElementById("items").textContent = `This browser cannot open the explorer's data (${error.message}).`;
  }
}
load();
