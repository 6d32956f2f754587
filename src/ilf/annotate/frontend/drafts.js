// Drafts: every change goes to this browser at once and to the server soon after. "Saved" is said only after the
// server has answered that it is. What the server does not have yet survives a crash, a reload, a lost connection.
const SOON = 600; // milliseconds after the last key
const BEAT = 60_000; // says "still here" while someone reads and thinks

// What every address begins with where the server is below another site's path.
export const base = document.querySelector("meta[name=base]").content;

export class Drafts {
  constructor({ form, csrf, version, person, collect, apply, onSaved, onConflict }) {
    Object.assign(this, { form, csrf, version, collect, apply, onSaved, onConflict });
    this.item = form.dataset.item;
    this.slot = `ilf:draft:${person}:${this.item}`;
    this.status = document.getElementById("saved");
    this.dirty = false;
    this.wait = 2000;
    this.flying = null;
    this.closed = false;
    const seconds = form.querySelector("[name=seconds]");
    this.spent = Number(seconds.dataset.start) || 0;
    this.lastSeen = 0; // an open page that nobody touches is no work
    for (const kind of ["keydown", "pointermove", "scroll", "pointerdown"]) {
      document.addEventListener(kind, () => (this.lastSeen = Date.now()), { passive: true, capture: true });
    }
    setInterval(() => {
      if (document.visibilityState === "visible" && Date.now() - this.lastSeen < 60_000) this.spent += 1;
      seconds.value = String(this.spent);
    }, 1000);
    setInterval(() => Date.now() - this.lastSeen < BEAT && this.send(), BEAT);
    addEventListener("online", () => this.dirty && this.send());
    addEventListener("beforeunload", (event) => {
      if (this.dirty && !this.closed && !this.keepLocally()) event.preventDefault();
    });
    document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && this.dirty && this.send());
  }

  // What this browser knows: the last text typed here, and whether the server has it (as which version).
  kept() {
    try {
      return JSON.parse(localStorage.getItem(this.slot) ?? "null");
    } catch {
      return null;
    }
  }

  keepLocally(synced = false) {
    try {
      localStorage.setItem(this.slot, JSON.stringify({ version: this.version, draft: this.collect(), synced }));
      return true;
    } catch {
      return false; // full or forbidden: the server's copy is the only one
    }
  }

  forget() {
    localStorage.removeItem(this.slot);
  }

  changed() {
    this.dirty = true;
    this.keepLocally();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(), SOON);
    this.say("Saving…");
  }

  say(text, bad = false) {
    if (this.status.textContent !== text) this.status.textContent = text;
    this.status.classList.toggle("bad", bad);
  }

  body(extra = {}) {
    const data = new URLSearchParams();
    for (const [name, value] of new FormData(this.form)) if (typeof value === "string") data.append(name, value);
    data.set("version", String(this.version));
    for (const [name, value] of Object.entries(extra)) data.set(name, value);
    return data;
  }

  post(path, extra) {
    return fetch(`${base}/items/${this.item}/${path}`, {
      method: "POST",
      headers: { accept: "application/json", "x-csrf-token": this.csrf },
      body: this.body(extra),
      signal: AbortSignal.timeout(20_000),
    });
  }

  // One save at a time; changes made meanwhile are sent afterwards.
  async send() {
    if (this.closed || this.blocked) return;
    if (this.flying) {
      await this.flying;
      if (!this.dirty) return;
    }
    clearTimeout(this.timer);
    this.flying = this.sendNow();
    await this.flying;
    this.flying = null;
  }

  async sendNow() {
    this.dirty = false;
    let reply;
    try {
      reply = await this.post("draft");
    } catch {
      return this.retry("Not saved: no connection to the server. Your text is kept in this browser.");
    }
    const said = await reply.json().catch(() => ({}));
    if (reply.ok) {
      this.version = said.version;
      this.wait = 2000;
      if (!this.dirty) {
        this.keepLocally(true);
        const held = said.held ? "" : " Someone else has this task by now.";
        this.say(`Saved ${new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" })}.${held}`, !said.held);
      } else this.keepLocally();
      this.onSaved(said);
    } else if (reply.status === 409 && said.conflict) {
      this.dirty = true;
      this.blocked = true;
      this.say("Not saved: this task was changed elsewhere.", true);
      this.onConflict(said.conflict);
    } else if (reply.status === 401 || reply.status === 403) {
      this.dirty = true;
      this.say(`Not saved: ${reply.status === 401 ? "you are signed out" : "this page is out of date"}. Your text is kept in this browser; ${reply.status === 401 ? "sign in again, then" : "please"} reload.`, true);
    } else if (reply.status === 429 || reply.status >= 500) {
      this.retry("Not saved yet: the server is busy. Your text is kept in this browser.");
    } else {
      this.dirty = true;
      this.say(`Not saved: ${said.error ?? reply.statusText}`, true);
    }
  }

  retry(text) {
    this.dirty = true;
    this.say(text, true);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(), this.wait);
    this.wait = Math.min(this.wait * 2, 15_000);
  }

  // After a conflict: go on from the other version, with this page's text or with the other one.
  resolve(version, draft) {
    this.version = version;
    this.blocked = false;
    if (draft) {
      this.apply(draft);
      this.dirty = false;
      this.keepLocally(true);
      this.say("The other text is here now.");
    } else {
      this.changed();
    }
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.forget();
  }
}
