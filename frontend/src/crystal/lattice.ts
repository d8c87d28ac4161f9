/** What is drawn of a crystal: copies of its atoms in a block of cells, and the bonds among them. */

import { add, combine, type Matrix, norm, subtract, type Vec } from "../math/vectors";
import type { Structure } from "../types";
import { elementOf } from "./elements";

export interface Site {
  /** Number of the atom in the cell, and the lattice translation of this copy. */
  atom: number;
  shift: Vec;
  position: Vec;
}

export interface Bond {
  from: Site;
  to: Site;
}

export interface Block {
  sites: Site[];
  bonds: Bond[];
  /** The copies of cells as translations. */
  cells: Vec[];
}

/** Longer than the sum of the covalent radii by this factor is no bond. */
const REACH = 1.2;
/** Copies on faces and edges of a block are drawn on all of them. */
const ON_FACE = 0.02;

export const cellOf = (structure: Structure): Matrix => structure.cell as unknown as Matrix;

/**
 * Atoms of `repeat` cells along each vector, each wrapped into its cell; those on a face also on the opposite one,
 * unless there would be more than `most`.
 */
export function block(structure: Structure, repeat: Vec, most = 20_000): Block {
  const cell = cellOf(structure);
  const cells: Vec[] = [];
  for (let a = 0; a < repeat[0]; a++) {
    for (let b = 0; b < repeat[1]; b++) for (let c = 0; c < repeat[2]; c++) cells.push([a, b, c]);
  }
  const sites: Site[] = [];
  structure.scaled_positions.forEach((given, atom) => {
    const inside = given.map((x) => wrapped(x)) as unknown as Vec;
    const base = subtract(inside, given as unknown as Vec);
    const ends = inside.map((x, k) => repeat[k]! + (x < ON_FACE ? 1 : 0));
    const full = structure.species.length * cells.length > most / 4;
    const [na, nb, nc] = full ? repeat : (ends as unknown as Vec);
    for (let a = 0; a < na; a++) {
      for (let b = 0; b < nb; b++) {
        for (let c = 0; c < nc; c++) {
          const shift: Vec = [a + base[0], b + base[1], c + base[2]];
          sites.push({ atom, shift, position: combine(add(inside, [a, b, c]), cell) });
        }
      }
    }
  });
  return { sites, bonds: sites.length > most ? [] : bonds(sites, structure.species), cells };
}

function wrapped(x: number): number {
  const inside = x - Math.floor(x);
  return inside > 1 - 1e-4 ? 0 : inside;
}

/** Pairs of drawn sites that are closer than their covalent radii allow, found through a grid of boxes. */
export function bonds(sites: readonly Site[], species: readonly string[]): Bond[] {
  const radii = species.map((symbol) => elementOf(symbol).radius);
  const bonded = drawable(species);
  const size = 2 * REACH * Math.max(...radii);
  const boxes = new Map<string, number[]>();
  const place = (p: Vec): [number, number, number] => [
    Math.floor(p[0] / size),
    Math.floor(p[1] / size),
    Math.floor(p[2] / size),
  ];
  sites.forEach((site, k) => {
    const key = place(site.position).join();
    const box = boxes.get(key);
    if (box) box.push(k);
    else boxes.set(key, [k]);
  });
  const found: Bond[] = [];
  sites.forEach((from, k) => {
    const [x, y, z] = place(from.position);
    for (let i = -1; i <= 1; i++) {
      for (let j = -1; j <= 1; j++) {
        for (let l = -1; l <= 1; l++) {
          for (const other of boxes.get([x + i, y + j, z + l].join()) ?? []) {
            if (other <= k) continue;
            const to = sites[other]!;
            const length = norm(subtract(to.position, from.position));
            if (length > 0.4 && length < REACH * (radii[from.atom]! + radii[to.atom]!) && bonded(from, to)) {
              found.push({ from, to });
            }
          }
        }
      }
    }
  });
  return found;
}

/**
 * Which pairs are drawn as bonds: metals with each other only where nothing else is, and large ions of the first two
 * groups only in crystals without other metals, whose polyhedra they would hide.
 */
function drawable(species: readonly string[]): (from: Site, to: Site) => boolean {
  const kinds = [...new Set(species)];
  const allMetals = kinds.every((symbol) => !NONMETALS.has(symbol));
  const others = kinds.some((symbol) => !NONMETALS.has(symbol) && !LARGE.has(symbol));
  return (from, to) => {
    const pair = [species[from.atom]!, species[to.atom]!];
    if (others && !allMetals && pair.some((symbol) => LARGE.has(symbol))) return false;
    return allMetals || pair.some((symbol) => NONMETALS.has(symbol));
  };
}

const LARGE = new Set("Na K Rb Cs Fr Ca Sr Ba Ra".split(" "));
const NONMETALS = new Set("H He B C N O F Ne Si P S Cl Ar Ge As Se Br Kr Sb Te I Xe At Rn".split(" "));
