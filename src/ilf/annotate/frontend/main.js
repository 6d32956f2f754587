// Entry of the bundle: what every page gets, and the annotator's workspace where there is one.
import htmx from "htmx.org";
import { setUpKeys } from "./keys.js";
import { setUpWork } from "./work.js";

document.body.classList.add("js");
const csrf = document.querySelector("meta[name=csrf]")?.content ?? "";
document.body.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["X-CSRF-Token"] = csrf;
});

// Light and dark without a reload (a reload would be one more way to lose the place one is at).
for (const form of document.querySelectorAll(".theme-form")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const root = document.documentElement;
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const next = (root.dataset.theme || system) === "dark" ? "light" : "dark";
    root.dataset.theme = next;
    form.querySelector("button").setAttribute("aria-label", `Switch to ${next === "dark" ? "light" : "dark"} colours`);
    document.cookie = `theme=${next}; path=${document.querySelector("meta[name=base]").content || "/"}; max-age=31536000; samesite=lax`;
    document.dispatchEvent(new CustomEvent("theme", { detail: next }));
  });
}

// One open menu at a time, closed by a click elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// Long lines of programs: cut off at the edge and scrolled, or wrapped, as this browser was told last.
const WRAP = "ilf:wrap";
function wrap(yes) {
  document.body.classList.toggle("wrap", yes);
  document.dispatchEvent(new CustomEvent("wrap", { detail: yes }));
}
const known = (name) => {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
};
wrap(known(WRAP) === "yes");
for (const box of document.querySelectorAll("[data-wrap]")) {
  box.checked = document.body.classList.contains("wrap");
  box.addEventListener("change", () => {
    wrap(box.checked);
    try {
      localStorage.setItem(WRAP, box.checked ? "yes" : "no");
    } catch {
      // Kept for this page only.
    }
  });
}

// The size of code, in steps of a tenth, as this browser was told last.
const SIZE = "ilf:code-size";
let size = Math.max(-3, Math.min(8, Number(known(SIZE)) || 0));
const resize = () => document.documentElement.style.setProperty("--code-size", String(1 + size / 10));
resize();
for (const button of document.querySelectorAll("[data-size]")) {
  button.addEventListener("click", () => {
    size = Math.max(-3, Math.min(8, size + Number(button.dataset.size)));
    resize();
    document.dispatchEvent(new CustomEvent("resized"));
    try {
      localStorage.setItem(SIZE, String(size));
    } catch {
      // Kept for this page only.
    }
  });
}

// Times as the reader's clock has them; recent ones in words.
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
for (const time of document.querySelectorAll("time[datetime]")) {
  const at = new Date(time.dateTime);
  const minutes = Math.round((at - Date.now()) / 60_000);
  const full = at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  if (Math.abs(minutes) < 60) time.textContent = relative.format(minutes, "minute");
  else if (Math.abs(minutes) < 24 * 60) time.textContent = relative.format(Math.round(minutes / 60), "hour");
  else time.textContent = full;
  time.title = full;
}

for (const field of document.querySelectorAll("[data-select]")) field.addEventListener("focus", () => field.select());

const work = document.querySelector("form#work");
setUpKeys(work ? setUpWork(work, csrf, htmx) : {});
