/** A vibration at the zone center: atoms on their way, with arrows of the displacements. */

import { elementOf } from "../crystal/elements";
import { type Block, block } from "../crystal/lattice";
import { ball, type Batch, rod } from "../gl/renderer";
import type { Content } from "../gl/stage";
import { cylinder, sphere } from "../math/meshes";
import { add, norm, scale, type Vec } from "../math/vectors";
import type { Grid, Structure } from "../types";
import { drawCrystal } from "./crystal";

const ARROW: Vec = [0.12, 0.5, 0.85];
/** Angstrom that the atom which moves most goes to each side, and the length of its arrow. */
const SWING = 0.32;
const LENGTH = 1.25;

export class Vibration {
  private shown: Block;
  private frame: Content;
  private balls = sphere(3);
  private rods = cylinder(12);
  private heads = cylinder(16, 0);

  constructor(private readonly structure: Structure, repeat: Vec) {
    this.shown = block(structure, repeat);
    this.frame = drawCrystal(structure, null, { repeat, bonds: false, cell: true, labels: false, glyphs: false, size: 1 });
  }

  /** The crystal at a phase (radian) of the mode with these displacements, the largest of length 1. */
  at(displacements: Grid, phase: number): Content {
    const colors = this.structure.species.map((symbol) => elementOf(symbol).color.map((c) => 0.84 * c + 0.1) as unknown as Vec);
    const moves = displacements.map((move) => scale(move as unknown as Vec, SWING * Math.cos(phase)));
    const place = new Map(this.shown.sites.map((site) => [site, add(site.position, moves[site.atom]!)]));
    const atoms = this.shown.sites.flatMap((site) =>
      ball(place.get(site)!, 0.26 * Math.sqrt(elementOf(this.structure.species[site.atom]!).radius), colors[site.atom]!));
    const bonds = this.shown.bonds.flatMap(({ from, to }) => {
      const [start, end] = [place.get(from)!, place.get(to)!];
      const middle = scale(add(start, end), 0.5);
      return [...rod(start, middle, 0.045, colors[from.atom]!), ...rod(end, middle, 0.045, colors[to.atom]!)];
    });
    const shafts: number[] = [];
    const heads: number[] = [];
    for (const site of this.shown.sites) {
      const move = displacements[site.atom]! as unknown as Vec;
      if (norm(move) < 0.04) continue;
      const start = place.get(site)!;
      const neck = add(start, scale(move, LENGTH * 0.78));
      shafts.push(...rod(start, neck, 0.045, ARROW));
      heads.push(...rod(neck, add(start, scale(move, LENGTH)), 0.11, ARROW));
    }
    const batch = (mesh: Batch["mesh"], instances: number[]): Batch => ({ mesh, instances: Float32Array.from(instances) });
    // The last batch of the resting crystal is the cell.
    const cell = this.frame.batches[this.frame.batches.length - 1]!;
    return {
      ...this.frame,
      batches: [batch(this.balls, atoms), batch(this.rods, bonds), batch(this.rods, shafts), batch(this.heads, heads), cell],
    };
  }
}
