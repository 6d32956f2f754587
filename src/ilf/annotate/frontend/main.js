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
    document.cookie = `theme=${next}; path=/; max-age=31536000; samesite=lax`;
    document.dispatchEvent(new CustomEvent("theme", { detail: next }));
  });
}

// One open menu at a time, closed by a click elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

for (const field of document.querySelectorAll("[data-select]")) field.addEventListener("focus", () => field.select());

const work = document.querySelector("form#work");
setUpKeys(work ? setUpWork(work, csrf, htmx) : {});
