/** A property of the crystal along every direction, as a surface around Cartesian axes. */

import { ball, type Batch, rod } from "../gl/renderer";
import type { Content, Label, Ray } from "../gl/stage";
import { type Directional, type Extremes, extremes, ramp, signColor } from "../math/glyphs";
import { cylinder, directions, surface } from "../math/meshes";
import { add, dot, scale, unit, type Vec } from "../math/vectors";

export interface DrawnSurface extends Content {
  quantity: Directional;
  range: Extremes;
  radius: (value: number) => number;
}

const LEVEL = 5;
const AXIS: Vec = [0.52, 0.55, 0.58];
const AXES: readonly (readonly [string, Vec])[] = [["x", [1, 0, 0]], ["y", [0, 1, 0]], ["z", [0, 0, 1]]];
const REACH = 1.32;
/** Relative width of values below which a surface is a sphere. */
export const SAME = 1e-4;

/** `stretched`: the distance from the center shows differences between values, no longer the values themselves. */
export function drawSurface(quantity: Directional, stretched: boolean): DrawnSurface {
  const range = extremes(quantity.value, directions(3).points);
  const largest = Math.max(Math.abs(range.least), Math.abs(range.greatest), 1e-12);
  const width = range.greatest - range.least;
  const different = width > SAME * largest;
  const share = (value: number): number => (different ? (value - range.least) / width : 0.5);
  const radius = (value: number): number =>
    stretched && different && !quantity.signed ? 0.4 + 0.6 * share(value) : Math.abs(value) / largest;
  const color = quantity.signed ? signColor : (value: number): Vec => ramp(share(value));
  const mesh = surface(LEVEL, quantity.value, radius, color);
  const body: Batch = { mesh, instances: Float32Array.from(ball([0, 0, 0], 1, [1, 1, 1])) };
  const labels: Label[] = AXES.map(([text, axis]) => ({ text, place: scale(axis, REACH + 0.1), kind: "axis" }));
  return { batches: [body, ...axes()], labels, center: [0, 0, 0], extent: 1.5, outline: directions(1).points.map((n) => scale(n, REACH)), quantity, range, radius };
}

function axes(): Batch[] {
  const shafts = AXES.flatMap(([, axis]) => rod(scale(axis, -1.12), scale(axis, REACH - 0.1), 0.008, AXIS));
  const heads = AXES.flatMap(([, axis]) => rod(scale(axis, REACH - 0.1), scale(axis, REACH), 0.028, AXIS));
  return [
    { mesh: cylinder(8), instances: Float32Array.from(shafts) },
    { mesh: cylinder(16, 0), instances: Float32Array.from(heads) },
  ];
}

/** The direction in which a line of sight first meets the surface. */
export function directionUnder(drawn: DrawnSurface, ray: Ray): Vec | null {
  const middle = -dot(ray.origin, ray.direction);
  // Steps from the front of the unit sphere, which holds the surface; then the crossing by halves.
  let before = middle - 1.05;
  for (let k = 1; k <= 160; k++) {
    let t = middle - 1.05 + (2.1 * k) / 160;
    if (!within(drawn, ray, t)) {
      before = t;
      continue;
    }
    for (let half = 0; half < 20; half++) {
      const between = (before + t) / 2;
      if (within(drawn, ray, between)) t = between;
      else before = between;
    }
    return unit(add(ray.origin, scale(ray.direction, t)));
  }
  return null;
}

function within(drawn: DrawnSurface, ray: Ray, t: number): boolean {
  const point = add(ray.origin, scale(ray.direction, t));
  const length = Math.hypot(...point);
  return length <= drawn.radius(drawn.quantity.value(unit(point)));
}
