/** Vectors, 3x3 matrices (rows) and quaternions (x, y, z, w) as plain arrays. */

export type Vec = readonly [number, number, number];
export type Matrix = readonly [Vec, Vec, Vec];
export type Quaternion = readonly [number, number, number, number];

export const add = (a: Vec, b: Vec): Vec => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
export const subtract = (a: Vec, b: Vec): Vec => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
export const scale = (a: Vec, s: number): Vec => [a[0] * s, a[1] * s, a[2] * s];
export const dot = (a: Vec, b: Vec): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const norm = (a: Vec): number => Math.hypot(a[0], a[1], a[2]);
export const cross = (a: Vec, b: Vec): Vec => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];

/** A vector of length 1 along `a`, or `otherwise` if it has no length. */
export function unit(a: Vec, otherwise: Vec = [0, 0, 1]): Vec {
  const length = norm(a);
  return length > 1e-12 ? scale(a, 1 / length) : otherwise;
}

/** Some unit vector at a right angle to a unit vector. */
export function perpendicular(a: Vec): Vec {
  return unit(cross(a, Math.abs(a[0]) < 0.8 ? [1, 0, 0] : [0, 1, 0]));
}

/** M v. */
export const times = (m: Matrix, v: Vec): Vec => [dot(m[0], v), dot(m[1], v), dot(m[2], v)];

/** v M: a combination of the rows, as fractional coordinates and lattice vectors make a position. */
export const combine = (v: Vec, m: Matrix): Vec =>
  add(add(scale(m[0], v[0]), scale(m[1], v[1])), scale(m[2], v[2]));

export const multiply = (q: Quaternion, r: Quaternion): Quaternion => [
  q[3] * r[0] + q[0] * r[3] + q[1] * r[2] - q[2] * r[1],
  q[3] * r[1] - q[0] * r[2] + q[1] * r[3] + q[2] * r[0],
  q[3] * r[2] + q[0] * r[1] - q[1] * r[0] + q[2] * r[3],
  q[3] * r[3] - q[0] * r[0] - q[1] * r[1] - q[2] * r[2],
];

/** Rotation by an angle (radian) about a unit vector. */
export function turn(axis: Vec, angle: number): Quaternion {
  const s = Math.sin(angle / 2);
  return [axis[0] * s, axis[1] * s, axis[2] * s, Math.cos(angle / 2)];
}

export function normalized(q: Quaternion): Quaternion {
  const length = Math.hypot(...q);
  return [q[0] / length, q[1] / length, q[2] / length, q[3] / length];
}

/** The rotation matrix of a unit quaternion. */
export function matrixOf([x, y, z, w]: Quaternion): Matrix {
  return [
    [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
    [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
    [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
  ];
}

export const transpose = (m: Matrix): Matrix => [
  [m[0][0], m[1][0], m[2][0]],
  [m[0][1], m[1][1], m[2][1]],
  [m[0][2], m[1][2], m[2][2]],
];

/** The unit quaternion of a rotation matrix. */
export function quaternionOf(m: Matrix): Quaternion {
  const trace = m[0][0] + m[1][1] + m[2][2];
  if (trace > 0) {
    const s = 2 * Math.sqrt(trace + 1);
    return [(m[2][1] - m[1][2]) / s, (m[0][2] - m[2][0]) / s, (m[1][0] - m[0][1]) / s, s / 4];
  }
  const i = m[1][1] > m[0][0] ? (m[2][2] > m[1][1] ? 2 : 1) : m[2][2] > m[0][0] ? 2 : 0;
  const j = (i + 1) % 3;
  const k = (i + 2) % 3;
  const at = (row: number, column: number): number => (m[row] as Vec)[column] as number;
  const s = 2 * Math.sqrt(1 + at(i, i) - at(j, j) - at(k, k));
  const q = [0, 0, 0, (at(k, j) - at(j, k)) / s];
  q[i] = s / 4;
  q[j] = (at(j, i) + at(i, j)) / s;
  q[k] = (at(k, i) + at(i, k)) / s;
  return q as unknown as Quaternion;
}
