/** Crystal and tensor surface side by side, with one orientation, their controls, legends and what the pointer is on. */

import { cellOf } from "../crystal/lattice";
import { button, choice, fileName, h, slider, tick } from "../dom";
import { Camera, homeOf } from "../gl/camera";
import { type Ray, Stage } from "../gl/stage";
import { directional, type Directional, NEGATIVE, POSITIVE, ramp } from "../math/glyphs";
import { along, axial, latticeDirection, latticeDirections, meanOf } from "../math/tensors";
import { norm, type Vec } from "../math/vectors";
import type { Grid, Scene } from "../types";
import { ARROW, AXIAL, drawCrystal, type Drawn, type Look, siteUnder } from "../views/crystal";
import { directionUnder, drawSurface, type DrawnSurface, SAME } from "../views/surface";
import { stageButtons } from "./exports";
import { digits, fixed, symbolOf, withUnit } from "./numbers";

const MANY = 400;
const tip = h("div", { class: "tip", hidden: true });
document.body.append(tip);

export function hint(content: Node | null, x: number, y: number): void {
  tip.hidden = content === null;
  if (!content) return;
  tip.replaceChildren(content);
  const [width, height] = [tip.offsetWidth, tip.offsetHeight];
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 6))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? Math.max(4, y - height - 12) : y + 18}px`;
}

export class Viewer {
  readonly element: HTMLElement;
  private scene!: Scene;
  private sites: readonly string[] = [];
  private camera = new Camera([0, 0, 0, 1]);
  private look: Look = { repeat: [1, 1, 1], bonds: true, cell: true, labels: true, glyphs: true, size: 0.5 };
  private stretched = false;
  private fresh = true;
  private chosen = "eps_inf";
  private drawn: Drawn | null = null;
  private drawnSurface: DrawnSurface | null = null;
  private crystal = new Stage(this.camera, "Crystal", (ray, x, y) => this.overCrystal(ray, x, y));
  private surface = new Stage(this.camera, "Tensor surface", (ray, x, y) => this.overSurface(ray, x, y));
  private crystalTools = h("div", { class: "tools" });
  private crystalLegend = h("figcaption", { class: "legend" });
  private surfaceTools = h("div", { class: "tools" });
  private surfaceLegend = h("figcaption", { class: "legend" });
  private second: HTMLElement;

  constructor() {
    this.second = h("figure", { class: "view" }, this.surfaceTools, this.surface.canvas, this.surfaceLegend);
    this.element = h(
      "div",
      { class: "views" },
      h("figure", { class: "view first" }, this.crystalTools, this.crystal.canvas, this.crystalLegend),
      this.second,
    );
  }

  /** Show a scene; the orientation stays if it is the same crystal with more tensors. */
  show(scene: Scene, sites: readonly string[], same = false): void {
    this.scene = scene;
    this.sites = sites;
    if (!same) {
      this.camera = new Camera(homeOf(cellOf(scene.structure)));
      this.crystal.use(this.camera);
      this.surface.use(this.camera);
      const many = scene.structure.species.length > MANY;
      this.look = { ...this.look, repeat: [1, 1, 1], labels: !many };
    }
    const { formula, species, spacegroup } = scene.structure;
    this.crystal.canvas.setAttribute(
      "aria-label",
      `Crystal structure of ${formula}, ${spacegroup.international}, ${species.length} atoms in the cell. Arrow keys turn it, ` +
        "plus and minus change its size, 0 resets it.",
    );
    this.tools();
    this.redraw(!same);
    this.recolor(!same);
  }

  /** Both pictures now, not at the next frame: what they cost is seen by who calls. */
  paint(): void {
    this.crystal.draw();
    this.surface.draw();
  }

  /** Orientation as nine numbers, rows: for tests. */
  get orientation(): number[] {
    return this.camera.rotation.flat();
  }

  private get born(): Grid[] | null {
    const found = this.scene.properties.find((entry) => entry.name === "born_charges");
    return found ? (found.values as Grid[]) : null;
  }

  private quantities(): Map<string, Directional> {
    const found = new Map<string, Directional>();
    for (const entry of this.scene.properties) {
      if (entry.per !== "crystal" || entry.rank < 2) continue;
      const quantity = directional(entry.name, entry.unit, entry.values as Grid, symbolOf[entry.name]);
      // A tensor that symmetry forbids has no surface.
      if (quantity && (entry.values as Grid).flat().some((value) => Math.abs(value) > 1e-9)) found.set(entry.name, quantity);
    }
    return found;
  }

  private redraw(fit = false): void {
    this.drawn = drawCrystal(this.scene.structure, this.born, this.look);
    this.crystal.show(this.drawn, fit);
    this.crystalLegend.replaceChildren(...this.legend(this.drawn), h("span", { class: "gap" }), stageButtons(this.crystal, () => fileName(this.scene.id, "-crystal")));
  }

  private recolor(fit = false): void {
    const all = this.quantities();
    this.second.hidden = all.size === 0;
    this.element.classList.toggle("alone", all.size === 0);
    const quantity = all.get(this.chosen) ?? all.values().next().value;
    if (!quantity) return;
    this.chosen = quantity.name;
    this.drawnSurface = drawSurface(quantity, this.stretched);
    this.surface.show(this.drawnSurface, fit || this.fresh);
    this.fresh = false;
    this.surface.canvas.setAttribute("aria-label", `Surface of ${quantity.meaning} around Cartesian axes; it turns with the crystal.`);
    const property = this.scene.properties.find((entry) => entry.name === quantity.name)!;
    const options = [...all.keys()].map((name) => [name, this.nameOf(name)] as const);
    this.surfaceTools.replaceChildren(
      choice("Surface", options, this.chosen, (value) => {
        this.chosen = value;
        this.recolor();
      }),
      property.rank === 3 ? "" : tick("stretch differences", this.stretched, (on) => {
        this.stretched = on;
        this.recolor();
      }),
    );
    this.surfaceLegend.replaceChildren(
      ...this.scale(this.drawnSurface), h("span", { class: "gap" }),
      stageButtons(this.surface, () => fileName(this.scene.id, `-${quantity.name}`)),
    );
  }

  private nameOf(name: string): string {
    if (name === "elastic") return "Young's modulus E";
    if (name.startsWith("piezo")) return `longitudinal ${symbolOf[name] ?? name}`;
    return symbolOf[name] ?? name;
  }

  private tools(): void {
    const set = (change: Partial<Look>, fit = false): void => {
      this.look = { ...this.look, ...change };
      this.redraw(fit);
    };
    const [a, b, c] = cellOf(this.scene.structure);
    const repeats = [[1, 1, 1], [2, 1, 1], [2, 2, 1], [2, 2, 2], [3, 3, 3]].map((r) => [r.join(" "), r.join(" × ")] as const);
    const small = this.scene.structure.species.length <= 200;
    this.crystalTools.replaceChildren(
      this.born ? choice("Show", [["born", "Born charges"], ["atoms", "atoms"]], this.look.glyphs ? "born" : "atoms", (value) => set({ glyphs: value === "born" })) : "",
      choice("Cells", small ? repeats : repeats.slice(0, 3), this.look.repeat.join(" "), (value) =>
        set({ repeat: value.split(" ").map(Number) as unknown as Vec }, true)),
      tick("bonds", this.look.bonds, (on) => set({ bonds: on })),
      tick("cell", this.look.cell, (on) => set({ cell: on })),
      tick("labels", this.look.labels, (on) => set({ labels: on })),
      this.born ? slider("size", [0.2, 1.2, 0.05], this.look.size, () => "", (size) => set({ size })) : "",
      h("span", { class: "set", role: "group", "aria-label": "Look along" },
        button("a", () => this.camera.look(a, c), "look along a"),
        button("b", () => this.camera.look(b, c), "look along b"),
        button("c", () => this.camera.look(c, b), "look along c"),
        button("⟲", () => {
          this.crystal.reset();
          this.surface.reset();
        }, "first view")),
    );
  }

  private legend(drawn: Drawn): (Node | string)[] {
    if (!drawn.perAngstrom) return [h("span", {}, "Atoms in the usual colors; drag or use the arrow keys to turn.")];
    const largest = Math.max(...this.born!.map((z) => norm(axial(z))));
    const arrows = drawn.arrows
      ? key(ARROW, `axial vector of the antisymmetric part, × ${AXIAL}`)
      : h("span", {}, largest < 5e-4 ? "no antisymmetric part" : `antisymmetric part up to ${digits(largest, 2)} e, too small to draw`);
    return [
      key(POSITIVE, "n·Z·n > 0"),
      key(NEGATIVE, "n·Z·n < 0"),
      h("span", {}, `distance from the atom |n·Z·n|, 1 Å is ${digits(drawn.perAngstrom, 2)} e`),
      arrows,
    ];
  }

  private scale({ quantity, range }: DrawnSurface): Node[] {
    const cell = cellOf(this.scene.structure);
    // Of many equal directions one that the lattice has, otherwise the nearest such.
    const where = (extreme: number, n: Vec): string => {
      const equal = latticeDirections(cell, 1).find((d) => Math.abs(quantity.value(d.direction) - extreme) < 1e-4 * Math.abs(extreme));
      const { indices, angle } = equal ? { indices: equal.indices, angle: 0 } : latticeDirection(cell, n);
      return `${angle > 0.5 ? "near" : "along"} [${indices.map((k) => (k < 0 ? `−${-k}` : k)).join(" ")}]`;
    };
    const largest = Math.max(Math.abs(range.least), Math.abs(range.greatest));
    if (range.greatest - range.least <= SAME * largest) {
      return [h("span", {}, `${quantity.meaning} = ${withUnit(digits(range.least, 4), quantity.unit)} in every direction`)];
    }
    const text = (value: number, n: Vec): string => `${withUnit(digits(value, 4), quantity.unit)} ${where(value, n)}`;
    if (quantity.signed) {
      return [h("span", {}, quantity.meaning), key(POSITIVE, text(range.greatest, range.greatestAt)), key(NEGATIVE, text(range.least, range.leastAt))];
    }
    const bar = h("span", { class: "bar", "aria-hidden": true });
    bar.style.background = `linear-gradient(90deg, ${[0, 0.2, 0.4, 0.6, 0.8, 1].map((s) => css(ramp(s))).join(", ")})`;
    return [h("span", {}, quantity.meaning), h("span", { class: "span" }, text(range.least, range.leastAt), bar, text(range.greatest, range.greatestAt))];
  }

  private overCrystal(ray: Ray | null, x: number, y: number): void {
    const found = ray && this.drawn && siteUnder(this.drawn, ray);
    if (!found) return hint(null, 0, 0);
    const { atom } = found.site;
    const { species, site_symmetries: groups, wyckoffs } = this.scene.structure;
    const lines: Node[] = [h("b", {}, `${species[atom]} ${atom}`), h("span", { class: "soft" }, ` ${this.sites[atom] ?? wyckoffs[atom] ?? ""}, site ${groups[atom] ?? ""}`)];
    const z = this.born?.[atom];
    if (z) {
      const body = h("tbody");
      for (const row of z) body.append(h("tr", {}, ...row.map((value) => h("td", {}, fixed(value)))));
      const vector = axial(z);
      lines.push(
        h("table", {}, body),
        h("div", {}, `mean ${fixed(meanOf(z))} e; here n·Z·n = ${fixed(along(z, found.direction))} e`),
        norm(vector) > 5e-4 ? h("div", {}, `axial (${vector.map((value) => fixed(value)).join(", ")}) e`) : "" as unknown as Node,
      );
    }
    hint(h("div", {}, ...lines), x, y);
  }

  private overSurface(ray: Ray | null, x: number, y: number): void {
    const n = ray && this.drawnSurface && directionUnder(this.drawnSurface, ray);
    if (!n || !this.drawnSurface) return hint(null, 0, 0);
    const { quantity } = this.drawnSurface;
    const { indices, angle } = latticeDirection(cellOf(this.scene.structure), n);
    hint(
      h("div", {},
        h("b", {}, `${quantity.meaning} = ${withUnit(digits(quantity.value(n), 4), quantity.unit)}`),
        h("div", { class: "soft" }, `n = (${n.map((value) => fixed(value, 2)).join(", ")}), ${fixed(angle, 0)}° from [${indices.join(" ")}]`)),
      x, y,
    );
  }
}

const css = (color: Vec): string => `rgb(${color.map((c) => Math.round(255 * c)).join(" ")})`;

function key(color: Vec, text: string): HTMLElement {
  const dot = h("i", { class: "dot", "aria-hidden": true });
  dot.style.background = css(color);
  return h("span", {}, dot, text);
}
