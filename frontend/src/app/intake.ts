/** Where structures come from: a file that is dropped or chosen, text that is pasted, an example. */

import { button, h } from "../dom";
import type { Example } from "../types";
import type { Input } from "./api";

const ACCEPTED = ".cif,.vasp,.poscar,.contcar,.xyz,.extxyz,.json,.zip,.gz,.xsf,.res,.in,.gen,.pdb";

export class Intake {
  readonly element: HTMLElement;
  private examples = h("div", { class: "examples", role: "group", "aria-label": "Examples" });
  private text = h("textarea", { rows: 8, spellcheck: false, "aria-label": "Structure as text", placeholder: "CIF, POSCAR or extended XYZ" });

  constructor(private readonly take: (input: Input) => void) {
    const file = h("input", { type: "file", class: "unseen", accept: ACCEPTED, id: "file", onchange: () => {
      const chosen = file.files?.[0];
      if (chosen) take({ name: chosen.name, content: chosen });
      file.value = "";
    } });
    const paste = h(
      "details",
      { class: "paste" },
      h("summary", {}, "paste text"),
      this.text,
      button("Predict", () => this.pasted(this.text.value)),
    );
    this.element = h(
      "section",
      { class: "intake", "aria-label": "Structure" },
      h("div", { class: "drop" },
        h("p", { class: "call" }, "Drop a crystal structure here"),
        h("p", { class: "soft" }, "CIF, POSCAR, extended XYZ, or a zip of a phonopy project"),
        h("div", { class: "ways" }, file, h("label", { for: "file", class: "button main" }, "Choose a file"), paste)),
      this.examples,
    );
    this.listen();
  }

  offer(examples: readonly Example[]): void {
    this.examples.replaceChildren(
      h("span", { class: "soft" }, "or try"),
      ...examples.map((example) =>
        button(example.title, () => this.take({ name: example.name, content: example.text }), example.source)),
    );
  }

  private pasted(text: string): void {
    if (text.trim()) this.take({ name: "", content: text });
  }

  private listen(): void {
    const root = document.documentElement;
    addEventListener("dragover", (event) => {
      event.preventDefault();
      root.classList.add("over");
    });
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) root.classList.remove("over");
    });
    addEventListener("drop", (event) => {
      event.preventDefault();
      root.classList.remove("over");
      const file = event.dataTransfer?.files[0];
      const text = event.dataTransfer?.getData("text/plain");
      if (file) this.take({ name: file.name, content: file });
      else if (text) this.pasted(text);
    });
    addEventListener("paste", (event) => {
      if (event.target instanceof HTMLTextAreaElement || event.target instanceof HTMLInputElement) return;
      const file = event.clipboardData?.files[0];
      if (file) this.take({ name: file.name, content: file });
      else this.pasted(event.clipboardData?.getData("text/plain") ?? "");
    });
  }
}
