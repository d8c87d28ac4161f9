/** Triangle meshes: sphere, cylinder, cone, and surfaces that a function of direction spans. */

import { cross, dot, unit, type Vec } from "./vectors";

export interface Mesh {
  /** (n, 3) points, normals and colors, flat. */
  positions: Float32Array;
  normals: Float32Array;
  colors: Float32Array;
  triangles: Uint32Array;
}

export interface Directions {
  points: Vec[];
  triangles: number[];
}

const cache = new Map<number, Directions>();

/** Unit vectors of an icosahedron whose faces are cut in four `level` times: 10 * 4^level + 2 of them. */
export function directions(level: number): Directions {
  const known = cache.get(level);
  if (known) return known;
  const made = level === 0 ? icosahedron() : finer(directions(level - 1));
  cache.set(level, made);
  return made;
}

function icosahedron(): Directions {
  const g = (1 + Math.sqrt(5)) / 2;
  const corners: Vec[] = [
    [-1, g, 0], [1, g, 0], [-1, -g, 0], [1, -g, 0], [0, -1, g], [0, 1, g],
    [0, -1, -g], [0, 1, -g], [g, 0, -1], [g, 0, 1], [-g, 0, -1], [-g, 0, 1],
  ];
  const triangles = [
    0, 11, 5, 0, 5, 1, 0, 1, 7, 0, 7, 10, 0, 10, 11, 1, 5, 9, 5, 11, 4, 11, 10, 2, 10, 7, 6, 7, 1, 8,
    3, 9, 4, 3, 4, 2, 3, 2, 6, 3, 6, 8, 3, 8, 9, 4, 9, 5, 2, 4, 11, 6, 2, 10, 8, 6, 7, 9, 8, 1,
  ];
  return { points: corners.map((corner) => unit(corner)), triangles };
}

function finer({ points, triangles }: Directions): Directions {
  const all = [...points];
  const middles = new Map<number, number>();
  const middle = (a: number, b: number): number => {
    const key = Math.min(a, b) * 1e6 + Math.max(a, b);
    let index = middles.get(key);
    if (index === undefined) {
      const [p, q] = [all[a]!, all[b]!];
      index = all.push(unit([p[0] + q[0], p[1] + q[1], p[2] + q[2]])) - 1;
      middles.set(key, index);
    }
    return index;
  };
  const smaller: number[] = [];
  for (let k = 0; k < triangles.length; k += 3) {
    const [a, b, c] = [triangles[k]!, triangles[k + 1]!, triangles[k + 2]!];
    const [ab, bc, ca] = [middle(a, b), middle(b, c), middle(c, a)];
    smaller.push(a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca);
  }
  return { points: all, triangles: smaller };
}

/** The surface r(n) n; `color` of the value along each direction. `radius` must not be negative. */
export function surface(
  level: number,
  value: (n: Vec) => number,
  radius: (value: number) => number,
  color: (value: number) => Vec,
): Mesh {
  const { points, triangles } = directions(level);
  const [positions, normals, colors] = [0, 1, 2].map(() => new Float32Array(3 * points.length)) as [Float32Array, Float32Array, Float32Array];
  points.forEach((n, k) => {
    const here = value(n);
    const r = radius(here);
    positions.set([n[0] * r, n[1] * r, n[2] * r], 3 * k);
    colors.set(color(here), 3 * k);
  });
  addFaces(positions, triangles, normals);
  points.forEach((n, k) => {
    const sum: Vec = [normals[3 * k]!, normals[3 * k + 1]!, normals[3 * k + 2]!];
    normals.set(unit(sum, n), 3 * k);
  });
  return { positions, normals, colors, triangles: Uint32Array.from(triangles) };
}

/** Add to each corner the normals of its triangles, as long as they are large: a mean by area. */
function addFaces(positions: Float32Array, triangles: readonly number[], normals: Float32Array): void {
  for (let k = 0; k < triangles.length; k += 3) {
    const [p, q, r] = [3 * triangles[k]!, 3 * triangles[k + 1]!, 3 * triangles[k + 2]!];
    const [ax, ay, az] = [0, 1, 2].map((c) => positions[q + c]! - positions[p + c]!) as [number, number, number];
    const [bx, by, bz] = [0, 1, 2].map((c) => positions[r + c]! - positions[p + c]!) as [number, number, number];
    const face = [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx];
    for (const corner of [p, q, r]) for (let c = 0; c < 3; c++) normals[corner + c] = normals[corner + c]! + face[c]!;
  }
}

const kept = new Map<string, Mesh>();

/** A mesh that is made once: its buffers stay with the renderer. */
function once(key: string, make: () => Mesh): Mesh {
  const known = kept.get(key);
  if (known) return known;
  const made = make();
  kept.set(key, made);
  return made;
}

export const sphere = (level: number): Mesh => once(`sphere ${level}`, () => surface(level, () => 1, () => 1, () => [1, 1, 1]));

/** Unit radius, from z = 0 to z = 1, with caps. `top` 0 makes a cone. */
export const cylinder = (sides: number, top = 1): Mesh => once(`cylinder ${sides} ${top}`, () => tube(sides, top));

function tube(sides: number, top: number): Mesh {
  const positions: number[] = [];
  const normals: number[] = [];
  const triangles: number[] = [];
  const slope = unit([1, 0, 1 - top]);
  for (let k = 0; k <= sides; k++) {
    const [c, s] = [Math.cos((2 * Math.PI * k) / sides), Math.sin((2 * Math.PI * k) / sides)];
    positions.push(c, s, 0, c * top, s * top, 1);
    for (let end = 0; end < 2; end++) normals.push(c * slope[0], s * slope[0], slope[2]);
    if (k < sides) triangles.push(2 * k, 2 * k + 2, 2 * k + 1, 2 * k + 1, 2 * k + 2, 2 * k + 3);
  }
  for (const [z, radius] of [[0, 1], [1, top]] as const) {
    if (radius === 0) continue;
    const center = positions.length / 3;
    positions.push(0, 0, z);
    normals.push(0, 0, z === 0 ? -1 : 1);
    for (let k = 0; k <= sides; k++) {
      positions.push(radius * Math.cos((2 * Math.PI * k) / sides), radius * Math.sin((2 * Math.PI * k) / sides), z);
      normals.push(0, 0, z === 0 ? -1 : 1);
      if (k < sides) triangles.push(center, ...(z === 0 ? [center + k + 2, center + k + 1] : [center + k + 1, center + k + 2]));
    }
  }
  return {
    positions: Float32Array.from(positions),
    normals: Float32Array.from(normals),
    colors: new Float32Array(positions.length).fill(1),
    triangles: Uint32Array.from(triangles),
  };
}

/** Volume inside a closed mesh, from its triangles. */
export function volume(mesh: Mesh): number {
  const corner = (k: number): Vec => {
    const at = 3 * mesh.triangles[k]!;
    return [mesh.positions[at]!, mesh.positions[at + 1]!, mesh.positions[at + 2]!];
  };
  let sum = 0;
  for (let k = 0; k < mesh.triangles.length; k += 3) sum += dot(corner(k), cross(corner(k + 1), corner(k + 2))) / 6;
  return sum;
}
