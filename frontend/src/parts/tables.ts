/** Tensors as tables: zeros by symmetry as dots, independent components marked, intervals beside. */

import { h } from "../dom";
import type { Grid, Note, Pattern, Property, Scene } from "../types";
import { fixed, prettyUnit, symbolOf, titleOf, withUnit } from "./numbers";

const PAIRS = ["xx", "xy", "xz", "yx", "yy", "yz", "zx", "zy", "zz"];

export interface Sites {
  /** Multiplicity and Wyckoff letter of every atom. */
  labels: readonly string[];
}

/** The table of one property, or its number. */
export function propertyTable(scene: Scene, property: Property, sites: Sites, all: boolean): HTMLElement {
  if (property.rank === 0) return scalar(property);
  return property.per === "atom" ? atomTable(scene, property, sites, all) : crystalTable(property);
}

function scalar(property: Property): HTMLElement {
  const interval = typeof property.interval === "number" ? ` ± ${fixed(property.interval)} (90 %)` : "";
  return h("p", { class: "scalar" }, withUnit(`${fixed(property.values as number)}${interval}`, property.unit));
}

function crystalTable(property: Property): HTMLElement {
  const pattern = property.patterns[0];
  const body = h("tbody");
  (property.values as Grid).forEach((row, i) => {
    const line = h("tr", {}, h("th", { scope: "row" }, property.rows[i] ?? ""));
    row.forEach((value, j) => line.append(cell(value, pattern, i, j)));
    body.append(line);
  });
  const head = h("tr", {}, h("td"), ...property.columns.map((name) => h("th", { scope: "col" }, name)));
  return scrolled(titleOf(property), h("thead", {}, head), body, "tensor");
}

function cell(value: number | null, pattern: Pattern | undefined, i: number, j: number): HTMLElement {
  if (pattern?.zero[i]?.[j]) return h("td", { class: "zero", title: "zero by symmetry" }, h("span", { "aria-label": "zero by symmetry" }, "·"));
  if (!pattern?.independent[i]?.[j]) return h("td", {}, fixed(value));
  return h("td", { class: "free", title: "independent component" }, h("strong", {}, fixed(value)), h("span", { class: "unseen" }, " independent"));
}

function atomTable(scene: Scene, property: Property, sites: Sites, all: boolean): HTMLElement {
  const { orbits, species, wyckoffs } = scene.structure;
  const patterns = new Map(property.patterns.map((pattern) => [pattern.atom, pattern]));
  const columns: [string, number[]][] = [];
  if (Array.isArray(property.interval)) columns.push(["± (90 %)", property.interval]);
  if (Array.isArray(property.spread)) columns.push(["spread", property.spread]);
  const heads = ["atom", "", "site", ...PAIRS, ...columns.map(([name]) => name)];
  const body = h("tbody");
  (property.values as Grid[]).forEach((tensor, atom) => {
    if (!all && orbits[atom] !== atom) return;
    const line = h(
      "tr",
      { "data-atom": atom },
      h("th", { scope: "row" }, String(atom)),
      h("td", { class: "text" }, species[atom] ?? ""),
      h("td", { class: "text" }, sites.labels[atom] ?? wyckoffs[atom] ?? ""),
    );
    // Symmetry speaks of the first atom of each set alone: in the frame of others its zeros lie elsewhere.
    const pattern = patterns.get(atom);
    tensor.forEach((row, i) => row.forEach((value, j) => line.append(cell(value, pattern, i, j))));
    for (const [, values] of columns) line.append(h("td", { class: "soft" }, fixed(values[atom] ?? null)));
    body.append(line);
  });
  const head = h("tr", {}, ...heads.map((name) => h("th", { scope: "col" }, name)));
  return scrolled(titleOf(property), h("thead", {}, head), body, "tensor atoms");
}

export function scrolled(caption: string, head: HTMLElement, body: HTMLElement, kind: string): HTMLElement {
  return h(
    "div",
    { class: "wide", role: "region", "aria-label": caption, tabindex: 0 },
    h("table", { class: kind }, h("caption", { class: "unseen" }, caption), head, body),
  );
}

/** Lines below a table: what symmetry allows, the interval, the spread, who says so. */
export function remarks(scene: Scene, property: Property): string[] {
  const { crystal_system: system, point_group: group } = scene.structure.spacegroup;
  const lines: string[] = [];
  const pattern = property.per === "crystal" ? property.patterns[0] : undefined;
  if (pattern) {
    const count = pattern.independent.flat().filter(Boolean).length;
    const zeros = pattern.zero.flat().some(Boolean) ? ", · zero by symmetry" : "";
    const words = count ? `${count} independent component${count === 1 ? "" : "s"} (bold)` : "no component allowed";
    lines.push(`${system} (${group}): ${words}${zeros}`);
  }
  const alone = property.per === "atom" && typeof property.interval === "number";
  if (alone) lines.push(`± (90 %), Frobenius norm of the error, largest of the atoms: ${fixed(property.interval as number)} ${property.unit}`);
  else if (property.per === "atom" && Array.isArray(property.interval)) lines.push("± (90 %) and spread: Frobenius norms of the error and of the ensemble's standard deviation");
  else if (property.rank && typeof property.interval === "number") {
    lines.push(withUnit(`± (90 %), Frobenius norm of the error: ${fixed(property.interval)}`, property.unit));
  }
  if (property.rank && typeof property.spread === "number") lines.push(`spread over the ensemble (Frobenius norm): ${fixed(property.spread)}`);
  if (property.name === "born_charges" && scene.drift !== null) {
    lines.push(`raw charge drift max |ΣZ|: ${fixed(scene.drift, 4)} e per cell`);
  }
  return lines;
}

/** `above`: warnings at the top of the page that concern it. */
export const headingOf = (property: Property, above: readonly Note[]): HTMLElement =>
  h(
    "h3",
    {},
    titleOf(property),
    h("span", { class: "symbol" }, symbolOf[property.name] ?? ""),
    above.length ? h("span", { class: "mark", title: above.map((note) => note.text).join("\n") }, "see warning") : "",
    property.unit ? h("span", { class: "soft" }, prettyUnit(property.unit)) : "",
    h("span", { class: "origin" }, `${property.model}${property.functional ? `, ${property.functional}` : ""}`),
  );
