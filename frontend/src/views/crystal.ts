/** The crystal as batches: cell, atoms, bonds, and on each atom the surface of its Born charge with its axial vector. */

import { type Block, block, cellOf, type Site } from "../crystal/lattice";
import { elementOf } from "../crystal/elements";
import { ball, type Batch, rod } from "../gl/renderer";
import type { Content, Label, Ray } from "../gl/stage";
import { bornGlyph } from "../math/glyphs";
import { cylinder, directions, sphere } from "../math/meshes";
import { along, axial } from "../math/tensors";
import { add, combine, dot, norm, scale, subtract, unit, type Vec } from "../math/vectors";
import type { Grid, Structure } from "../types";

export interface Look {
  repeat: Vec;
  bonds: boolean;
  cell: boolean;
  labels: boolean;
  /** Draw Born charges instead of atoms; Angstrom that the largest |n.Z.n| is long, as a share of the shortest bond. */
  glyphs: boolean;
  size: number;
}

export interface Drawn extends Content {
  sites: Site[];
  /** Radius that the pointer finds, of each atom of the cell. */
  radii: number[];
  /** e per Angstrom of the glyphs; 0 without. */
  perAngstrom: number;
  /** Whether axial vectors are large enough to be drawn. */
  arrows: boolean;
}

const WHITE: Vec = [1, 1, 1];
const LINE: Vec = [0.52, 0.55, 0.58];
const BOND: Vec = [0.68, 0.7, 0.72];
export const ARROW: Vec = [0.55, 0.24, 0.6];
/** An axial vector is drawn longer than the charge by this factor. */
export const AXIAL = 4;
/** Axial vectors below this share of the largest charge would be dots. */
const NEGLIGIBLE = 0.02;

/** What to draw of a crystal with Born charges `born` (n, 3, 3), if there are any. */
export function drawCrystal(structure: Structure, born: readonly Grid[] | null, look: Look): Drawn {
  const shown = block(structure, look.repeat);
  const count = shown.sites.length;
  const batches: Batch[] = [];
  let radii = structure.species.map((symbol) => 0.36 * Math.sqrt(elementOf(symbol).radius));
  let perAngstrom = 0;
  let arrows = false;
  if (look.glyphs && born) {
    const largest = Math.max(1e-6, ...born.map(strongest));
    const reach = look.size * nearest(shown);
    perAngstrom = largest / reach;
    radii = born.map((z) => Math.max(0.12, strongest(z) / perAngstrom));
    arrows = born.some((z) => norm(axial(z)) >= NEGLIGIBLE * largest);
    batches.push(...glyphs(born, shown, perAngstrom, count), ...axialVectors(born, shown, perAngstrom, largest));
  } else {
    const atoms = shown.sites.flatMap((site) => ball(site.position, radii[site.atom]!, colorOf(structure, site)));
    batches.push({ mesh: sphere(count > 2000 ? 2 : count > 300 ? 3 : 4), instances: Float32Array.from(atoms) });
  }
  if (look.bonds) batches.push(bonds(structure, shown, perAngstrom > 0));
  const labels: Label[] = look.labels && count < 400
    ? shown.sites.map((site) => ({ text: structure.species[site.atom]!, place: site.position, kind: "atom" }))
    : [];
  if (look.cell) {
    batches.push(edges(structure, shown));
    labels.push(...axisLabels(structure));
  }
  const balls = shown.sites.map((site) => ({ place: site.position, radius: radii[site.atom]! }));
  return { batches, labels, balls, ...frame(structure, shown, radii), sites: shown.sites, radii, perAngstrom, arrows };
}

/** The site under a line of sight that is nearest to the eye, and the direction from its center to where it is hit. */
export function siteUnder(drawn: Drawn, ray: Ray): { site: Site; direction: Vec } | null {
  let found: { site: Site; direction: Vec } | null = null;
  let closest = Infinity;
  for (const site of drawn.sites) {
    const away = subtract(ray.origin, site.position);
    const middle = -dot(away, ray.direction);
    const inside = drawn.radii[site.atom]! ** 2 - (dot(away, away) - middle * middle);
    if (inside < 0) continue;
    const distance = middle - Math.sqrt(inside);
    if (distance < closest) {
      closest = distance;
      found = { site, direction: unit(add(away, scale(ray.direction, distance))) };
    }
  }
  return found;
}

const strongest = (z: Grid): number => Math.max(...directions(2).points.map((n) => Math.abs(along(z, n))));

function nearest({ sites, bonds }: Block): number {
  let least = Infinity;
  for (const { from, to } of bonds) least = Math.min(least, norm(subtract(to.position, from.position)));
  if (Number.isFinite(least)) return least;
  for (const site of sites.slice(1, 200)) least = Math.min(least, norm(subtract(site.position, sites[0]!.position)) || least);
  return Number.isFinite(least) ? least : 2;
}

const colorOf = (structure: Structure, site: Site): Vec => {
  // A little toward gray: quiet beside the colors of signs.
  const color = elementOf(structure.species[site.atom]!).color;
  return color.map((c) => 0.84 * c + 0.1) as unknown as Vec;
};

function glyphs(born: readonly Grid[], shown: Block, perAngstrom: number, count: number): Batch[] {
  const level = count > 600 ? 2 : count > 120 ? 3 : 4;
  const places = new Map<number, number[]>();
  for (const site of shown.sites) {
    const list = places.get(site.atom) ?? [];
    list.push(...ball(site.position, 1, WHITE));
    places.set(site.atom, list);
  }
  return [...places].map(([atom, instances]) => ({
    mesh: bornGlyph(born[atom]!, perAngstrom, level),
    instances: Float32Array.from(instances),
  }));
}

function axialVectors(born: readonly Grid[], shown: Block, perAngstrom: number, largest: number): Batch[] {
  const shafts: number[] = [];
  const heads: number[] = [];
  for (const site of shown.sites) {
    const z = born[site.atom]!;
    const vector = axial(z);
    if (norm(vector) < NEGLIGIBLE * largest) continue;
    const direction = unit(vector);
    const length = (AXIAL * norm(vector)) / perAngstrom;
    const from = add(site.position, scale(direction, 0.96 * Math.abs(along(z, direction)) / perAngstrom));
    const head = Math.min(0.16, 0.6 * length);
    const neck = add(from, scale(direction, length - head));
    shafts.push(...rod(from, neck, 0.035, ARROW));
    heads.push(...rod(neck, add(from, scale(direction, length)), 0.085, ARROW));
  }
  return [
    { mesh: cylinder(16), instances: Float32Array.from(shafts) },
    { mesh: cylinder(20, 0), instances: Float32Array.from(heads) },
  ];
}

/** Under glyphs bonds stay in the background: thin and without the colors of elements. */
function bonds(structure: Structure, shown: Block, quiet: boolean): Batch {
  const radius = quiet ? 0.045 : 0.09;
  const rods = shown.bonds.flatMap(({ from, to }) => {
    const middle = scale(add(from.position, to.position), 0.5);
    return [
      ...rod(from.position, middle, radius, quiet ? BOND : colorOf(structure, from)),
      ...rod(to.position, middle, radius, quiet ? BOND : colorOf(structure, to)),
    ];
  });
  return { mesh: cylinder(shown.bonds.length > 1000 ? 8 : 16), instances: Float32Array.from(rods) };
}

const CORNERS: readonly Vec[] = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]];

function edges(structure: Structure, shown: Block): Batch {
  const cell = cellOf(structure);
  const rods: number[] = [];
  const done = new Set<string>();
  for (const at of shown.cells) {
    for (const corner of CORNERS) {
      for (let k = 0; k < 3; k++) {
        if (corner[k] === 1) continue;
        const from = add(at, corner);
        const key = `${from.join()}:${k}`;
        if (done.has(key)) continue;
        done.add(key);
        const start = combine(from, cell);
        rods.push(...rod(start, add(start, cell[k]!), shown.cells.length > 1 ? 0.014 : 0.02, LINE));
      }
    }
  }
  return { mesh: cylinder(8), instances: Float32Array.from(rods) };
}

function axisLabels(structure: Structure): Label[] {
  const cell = cellOf(structure);
  return ["a", "b", "c"].map((text, k) => ({
    text,
    place: add(cell[k]!, scale(unit(cell[k]!), 0.45)),
    kind: "axis",
  }));
}

function frame(structure: Structure, shown: Block, radii: readonly number[]): Pick<Content, "center" | "extent" | "outline"> {
  const cell = cellOf(structure);
  const last = shown.cells[shown.cells.length - 1]!;
  const center = scale(combine(add(last, [1, 1, 1]), cell), 0.5);
  const corners = CORNERS.map((corner) => combine([0, 1, 2].map((k) => corner[k]! * (last[k]! + 1)) as unknown as Vec, cell));
  const reach = corners.map((corner) => norm(subtract(corner, center)) + 0.25);
  const atoms = shown.sites.map((site) => norm(subtract(site.position, center)) + radii[site.atom]!);
  let extent = 1;
  for (const value of [...reach, ...atoms]) extent = Math.max(extent, value);
  return { center, extent, outline: [...corners, ...shown.sites.map((site) => site.position)] };
}
