/** Phonons as a job of the server: progress, canceling, the result and its files. */

import { button, h } from "../dom";
import { PhononPanel } from "../parts/phonons";
import type { Job, PhononsResult } from "../types";
import { cancel, type Input, job, jobFile, phonons, Refusal } from "./api";
import { snippet } from "./takeaway";

export class PhononJob {
  readonly element = h("div", { class: "job" });
  private panel = new PhononPanel();
  private leave = new AbortController();

  /** Start; `done` gets the result once it is there. Only one job runs for a page. */
  async run(input: Input, words: Record<string, string>, say: (text: string) => void, done: (result: PhononsResult) => void): Promise<void> {
    this.clear();
    const { signal } = this.leave;
    const bar = h("progress", { "aria-label": "Progress" });
    const state = h("span", {}, "sending");
    let running: Job | null = null;
    const stop = button("cancel", () => {
      if (running) void cancel(running.id);
      this.clear();
      say("Canceled.");
    });
    this.element.replaceChildren(h("div", { class: "running" }, bar, state, stop));
    try {
      running = await phonons(input, words, signal);
      while (running.state === "queued" || running.state === "running") {
        state.textContent = progressText(running);
        if (running.progress.total) {
          bar.max = running.progress.total;
          bar.value = running.progress.done;
        }
        running = await job(running.id, signal);
      }
      if (running.error) throw new Refusal(running.error);
      if (!running.result) return this.clear();
      this.finish(running, running.result);
      done(running.result);
    } catch (error) {
      if (signal.aborted) return;
      this.element.replaceChildren();
      throw error;
    }
  }

  clear(): void {
    this.leave.abort();
    this.leave = new AbortController();
    this.element.replaceChildren();
  }

  private finish(ended: Job, result: PhononsResult): void {
    this.panel.show(result.phonons, result.phonons.structure.formula);
    const files = ended.files.map((file) => h("a", { class: "button", href: jobFile(ended.id, `files/${encodeURIComponent(file.name)}`), download: file.name }, file.name));
    const all = h("a", { class: "button main", href: jobFile(ended.id, "files.zip"), download: "phonons.zip" }, "all as zip");
    this.element.replaceChildren(
      this.panel.element,
      h("section", { class: "takeaway" }, h("h2", {}, "Take the phonons along"), h("div", { class: "files" }, ...files, files.length ? all : ""),
        h("div", { class: "again" }, snippet("In a terminal", result.repeat.command), snippet("In Python", result.repeat.python))),
    );
  }
}

function progressText({ state, position, progress }: Job): string {
  if (state === "queued") return position ? `waiting, ${position} before it` : "waiting";
  return `${progress.what || "computing"} ${progress.done}${progress.total ? ` of ${progress.total}` : ""}`;
}
