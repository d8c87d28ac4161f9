/** The periodic table of what a model has seen. */

import { choice, h } from "../dom";
import type { Elements } from "../types";

/** Counts from few to many in four shades. */
function shade(count: number | null, rare: number): string {
  if (count === null) return "s2";
  if (count < rare) return "rare";
  return count < 5 * rare ? "s1" : count < 25 * rare ? "s2" : "s3";
}

export function periodicTable(
  found: Elements,
  present: ReadonlySet<string>,
  models: readonly string[],
  change: (model: string) => void,
): HTMLElement {
  const grid = h("div", { class: "periodic", role: "list", "aria-label": `Elements that model ${found.model} has seen` });
  for (const element of found.elements) {
    const words = element.known
      ? element.count === null ? "seen in training" : `in ${element.count} crystals of its training`
      : "not in its training";
    const cell = h(
      "div",
      {
        role: "listitem",
        class: `element ${element.known ? shade(element.count, found.rare) : "unknown"}${present.has(element.symbol) ? " present" : ""}`,
        title: `${element.name}: ${words}`,
        "aria-label": `${element.name}: ${words}`,
      },
      element.symbol,
    );
    cell.style.gridColumn = String(Math.round(element.column) + 1);
    cell.style.gridRow = String(Math.round(2 * element.row) + 1) + " / span 2";
    grid.append(cell);
  }
  const key = (kind: string, text: string): HTMLElement => h("span", {}, h("i", { class: `element ${kind}`, "aria-hidden": true }), text);
  const counted = found.elements.some((element) => element.count !== null);
  return h(
    "section",
    { class: "seen" },
    h("h2", {}, "What the models have seen"),
    h("p", { class: "small" },
      choice("model", models.map((name) => [name, name] as const), found.model, change),
      " ",
      ...(counted
        ? [key("s3", `${25 * found.rare} training crystals or more`), key("s2", `${5 * found.rare}`), key("s1", `${found.rare}`), key("rare", "fewer")]
        : [key("s2", "seen in training")]),
      key("unknown", "never")),
    grid,
  );
}
