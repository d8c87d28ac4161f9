/** Files to take along, and how to get the same result in a terminal or from Python. */

import { button, fileName, h, save } from "../dom";
import type { CrystalResult, Repeat } from "../types";
import { type Input, type Options, predictFile, Refusal } from "./api";

export interface Content {
  input: Input;
  options: Options;
  crystals: readonly CrystalResult[];
  shown: CrystalResult;
  repeat: Repeat;
}

export function takeaway(content: Content, failed: (text: string) => void): HTMLElement {
  const { shown, crystals, repeat } = content;
  const id = shown.scene.id;
  const server = (label: string, format: string, suffix: string, title: string): HTMLElement => {
    const made: HTMLButtonElement = button(label, () => {
      made.disabled = true;
      predictFile(content.input, content.options, format)
        .then((blob) => save(fileName(id, suffix), blob))
        .catch((error: unknown) => failed(error instanceof Refusal ? error.message : String(error)))
        .finally(() => (made.disabled = false));
    }, title);
    return made;
  };
  const born = shown.born && crystals.length === 1 ? server("BORN", "born", ".BORN", "Born charges and eps_inf for phonopy") : "";
  return h(
    "section",
    { class: "takeaway" },
    h("h2", {}, "Take it along"),
    h("div", { class: "files" },
      born,
      button("JSON", () => save(fileName(id, ".json"), JSON.stringify(shown), "application/json"), "everything shown here"),
      server("CSV", "csv", ".csv", "Born charges, one row for each atom"),
      server("extXYZ", "extxyz", ".extxyz", "the structure with its tensors"),
      button("text", () => save(fileName(id, ".txt"), `${shown.table}\n`), "the tables of the command line")),
    h("div", { class: "again" },
      snippet("In a terminal", repeat.command),
      snippet("In Python", repeat.python)),
    h("details", {}, h("summary", {}, "The tables of the command line"), h("pre", { tabindex: 0, class: "table" }, shown.table)),
  );
}

export function snippet(title: string, text: string): HTMLElement {
  const copied = h("span", { class: "small", role: "status" });
  const copy = button("copy", () => {
    navigator.clipboard.writeText(text).then(() => (copied.textContent = "copied"), () => (copied.textContent = "select it by hand"));
  }, `copy: ${title}`);
  return h("div", { class: "snippet" }, h("div", { class: "head" }, h("h3", {}, title), copied, copy), h("pre", { tabindex: 0 }, h("code", {}, text)));
}
