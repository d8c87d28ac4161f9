/** Surfaces and colors of tensors. */

import { type Mesh, surface } from "./meshes";
import { along, inverse, longitudinalPiezo, type Rows, young } from "./tensors";
import type { Vec } from "./vectors";

/** Distinct to color-blind readers (Okabe and Ito), a little lighter. */
export const POSITIVE: Vec = [0.9, 0.45, 0.16];
export const NEGATIVE: Vec = [0.13, 0.5, 0.78];

const RAMP: readonly Vec[] = [
  [0.2, 0.25, 0.49], [0.17, 0.42, 0.56], [0.15, 0.58, 0.55], [0.36, 0.73, 0.46], [0.68, 0.83, 0.31], [0.98, 0.89, 0.3],
];

/** Color of a share between 0 and 1, from dark blue over green to yellow. */
export function ramp(share: number): Vec {
  const place = Math.min(1, Math.max(0, share)) * (RAMP.length - 1);
  const k = Math.min(RAMP.length - 2, Math.floor(place));
  const [low, high, rest] = [RAMP[k]!, RAMP[k + 1]!, place - k];
  return [0, 1, 2].map((c) => low[c]! + (high[c]! - low[c]!) * rest) as unknown as Vec;
}

export const signColor = (value: number): Vec => (value < 0 ? NEGATIVE : POSITIVE);

/** |n.Z.n| along n, in units of `unit`, orange where n.Z.n is positive and blue where it is negative. */
export function bornGlyph(born: Rows, unit: number, level: number): Mesh {
  return surface(level, (n) => along(born, n), (value) => Math.abs(value) / unit, signColor);
}

/** Something that a crystal has along every direction. */
export interface Directional {
  name: string;
  /** In a sentence, e.g. "n·ε∞·n". */
  meaning: string;
  unit: string;
  signed: boolean;
  value: (n: Vec) => number;
}

/** What a property of a crystal is along directions; null for scalars and elastic tensors without an inverse. */
export function directional(name: string, unit: string, values: Rows, symbol = name): Directional | null {
  if (values.length === 3 && values[0]!.length === 3) {
    return { name, meaning: `n·${symbol}·n`, unit, signed: false, value: (n) => along(values, n) };
  }
  if (values.length === 3) {
    return { name, meaning: "longitudinal e(n) = n·e:nn", unit, signed: true, value: (n) => longitudinalPiezo(values, n) };
  }
  const compliance = inverse(values);
  if (compliance === null) return null;
  return { name, meaning: "Young's modulus E(n)", unit, signed: false, value: (n) => young(compliance, n) };
}

export interface Extremes {
  least: number;
  greatest: number;
  /** Directions of both. */
  leastAt: Vec;
  greatestAt: Vec;
}

/** Least and greatest value over directions, refined by steps along the sphere. */
export function extremes(value: (n: Vec) => number, starts: readonly Vec[]): Extremes {
  const search = (sign: number): Vec => {
    let best = starts[0]!;
    for (const n of starts) if (sign * value(n) > sign * value(best)) best = n;
    for (let step = 0.2; step > 1e-5; step /= 2) {
      for (let moved = true; moved; ) {
        moved = false;
        for (let k = 0; k < 6; k++) {
          const next: Vec = [0, 1, 2].map((c) => best[c]! + (c === k % 3 ? (k < 3 ? step : -step) : 0)) as unknown as Vec;
          const length = Math.hypot(...next);
          const unit: Vec = [next[0] / length, next[1] / length, next[2] / length];
          if (sign * value(unit) > sign * value(best) + 1e-12 * Math.abs(value(best))) [best, moved] = [unit, true];
        }
      }
    }
    return best;
  };
  const [leastAt, greatestAt] = [search(-1), search(1)];
  return { least: value(leastAt), greatest: value(greatestAt), leastAt, greatestAt };
}
