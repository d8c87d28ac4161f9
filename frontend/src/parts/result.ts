/** Everything about one crystal: what it is, warnings, the pictures, and a section for each property. */

import { cellOf } from "../crystal/lattice";
import { h, tick } from "../dom";
import { dot, norm } from "../math/vectors";
import type { Derived, Note, Property, Scene, Structure } from "../types";
import { factsOf } from "./facts";
import { fixed, formula, groupSymbol, symbolOf } from "./numbers";
import { headingOf, propertyTable, remarks, type Sites } from "./tables";
import { Viewer } from "./viewer";

export class Result {
  readonly element: HTMLElement;
  readonly viewer = new Viewer();
  private title = h("h2", { tabindex: -1, class: "crystal" });
  private line = h("p", { class: "soft crystal-line" });
  private general = h("div");
  private tensors = h("div", { class: "tensors" });
  private all = false;

  constructor() {
    this.element = h("section", { class: "result", "aria-label": "Result" }, this.title, this.line, this.general, this.viewer.element, this.tensors);
  }

  /** `same`: the same crystal with more properties; pictures keep their orientation. */
  show(scene: Scene, derived: Derived | null, sites: Sites, same = false): void {
    const { structure } = scene;
    this.title.replaceChildren(formula(structure.formula), " ", groupSymbol(structure.spacegroup.international));
    this.line.textContent = describe(scene.id, structure);
    const shown = new Set(scene.properties.map((property) => property.name));
    // What concerns one or two properties that are shown stands beside them; what concerns more stands once above all.
    const general = scene.notes.filter((note) => {
      const count = note.properties.filter((name) => shown.has(name)).length;
      return count === 0 || count > 2;
    });
    this.general.replaceChildren(...noteList(general));
    this.viewer.show(scene, sites.labels, same);
    const local = (property: Property): Note[] =>
      scene.notes.filter((note) => !general.includes(note) && note.properties.includes(property.name));
    this.tensors.replaceChildren(...ordered(scene.properties).map((property) => this.section(scene, property, derived, sites, local(property))));
  }

  focus(): void {
    this.title.focus({ preventScroll: true });
  }

  private section(scene: Scene, property: Property, derived: Derived | null, sites: Sites, notes: Note[]): HTMLElement {
    const holder = h("div");
    const fill = (): void => holder.replaceChildren(propertyTable(scene, property, sites, this.all));
    fill();
    const independent = new Set(scene.structure.orbits).size;
    const more = property.per === "atom" && independent < scene.structure.species.length
      ? tick(`all ${scene.structure.species.length} atoms, not one of each equivalent set`, this.all, (on) => {
        this.all = on;
        fill();
      })
      : "";
    const facts = factsOf(property, derived);
    const list = h("dl", { class: "facts" });
    for (const [name, value] of facts) list.append(h("div", {}, h("dt", {}, name), h("dd", {}, value)));
    const sheet = scene.sheets.find((entry) => entry.property === property.name);
    return h(
      "section",
      { class: `tensor-card per-${property.per} rank-${property.rank}${property.columns.length > 3 ? " broad" : ""}`, "data-property": property.name },
      headingOf(property, scene.notes.filter((note) => note.warning && !notes.includes(note) && note.properties.includes(property.name))),
      ...noteList(notes),
      holder,
      more,
      facts.length ? list : "",
      sheet ? h("p", { class: "small" }, `of the layer itself, ${fixed(sheet.thickness_angstrom, 2)} Å thick: diagonal ${sheet.permittivity.map((row, k) => fixed(row[k] ?? null)).join(", ")}`) : "",
      ...remarks(scene, property).map((text) => h("p", { class: "small" }, text)),
    );
  }
}

/** Charges, permittivities, stiffness, piezoelectricity, single numbers last. */
function ordered(properties: readonly Property[]): Property[] {
  const weight = (property: Property): number => (property.per === "atom" ? 0 : property.rank === 2 ? 1 : property.rank === 4 ? 2 : property.rank === 3 ? 3 : 4);
  return [...properties].sort((a, b) => weight(a) - weight(b));
}

export function noteList(notes: readonly Note[]): HTMLElement[] {
  if (notes.length === 0) return [];
  const list = h("ul");
  for (const note of notes) {
    const names = note.properties.length > 2 ? note.properties.map((name) => symbolOf[name] ?? name).join(", ") : "";
    list.append(h("li", { class: note.warning ? "warning" : "" }, note.text, names && h("span", { class: "soft" }, ` (${names})`)));
  }
  return [h("div", { class: notes.some((note) => note.warning) ? "notes warn" : "notes", role: "note" }, list)];
}

export function describe(id: string, structure: Structure): string {
  const cell = cellOf(structure);
  const [a, b, c] = cell.map(norm) as [number, number, number];
  const angle = (i: number, j: number): string =>
    fixed((Math.acos(dot(cell[i]!, cell[j]!) / (norm(cell[i]!) * norm(cell[j]!))) * 180) / Math.PI, 2).replace(/\.?0+$/, "");
  const { number, crystal_system: system } = structure.spacegroup;
  const count = structure.species.length;
  return (
    `${id} · no. ${number}, ${system} · ${count} atom${count === 1 ? "" : "s"} · a, b, c ${fixed(a)}, ${fixed(b)}, ${fixed(c)} Å · ` +
    `α, β, γ ${angle(1, 2)}, ${angle(0, 2)}, ${angle(0, 1)}°`
  );
}
