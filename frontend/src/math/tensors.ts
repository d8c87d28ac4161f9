/** What tensors are along a direction, and what follows from them. Voigt order xx yy zz yz zx xy. */

import { combine, dot, type Matrix, unit, norm, type Vec } from "./vectors";

export type Rows = readonly (readonly number[])[];

const PAIRS = [[0, 0], [1, 1], [2, 2], [1, 2], [2, 0], [0, 1]] as const;

/** n.T.n. */
export function along(tensor: Rows, n: Vec): number {
  let sum = 0;
  for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) sum += n[i]! * tensor[i]![j]! * n[j]!;
  return sum;
}

/** The axial vector of the antisymmetric part: a[i] = sum of eps[i, j, k] T[j, k] / 2, so that A v = -(a x v). */
export const axial = (t: Rows): Vec => [
  (t[1]![2]! - t[2]![1]!) / 2,
  (t[2]![0]! - t[0]![2]!) / 2,
  (t[0]![1]! - t[1]![0]!) / 2,
];

export const meanOf = (t: Rows): number => (t[0]![0]! + t[1]![1]! + t[2]![2]!) / 3;

/** Sum of n[i] n[j] of each Voigt pair; engineering strain counts a shear twice. */
function pairs(n: Vec): number[] {
  return PAIRS.map(([i, j]) => (i === j ? 1 : 2) * n[i] * n[j]);
}

/** n[i] e[i, j, k] n[j] n[k] of a piezoelectric tensor e as (3, 6): the longitudinal coefficient. */
export function longitudinalPiezo(piezo: Rows, n: Vec): number {
  const strain = pairs(n);
  return piezo.reduce((sum, row, i) => sum + n[i]! * row.reduce((s, value, k) => s + value * strain[k]!, 0), 0);
}

/** Young's modulus along n from the compliance matrix (6, 6) that `inverse` makes of the elastic one. */
export function young(compliance: Rows, n: Vec): number {
  const stress = PAIRS.map(([i, j]) => n[i] * n[j]);
  let sum = 0;
  for (let i = 0; i < 6; i++) {
    for (let j = 0; j < 6; j++) sum += stress[i]! * compliance[i]![j]! * stress[j]!;
  }
  return 1 / sum;
}

/** The inverse of a square matrix by elimination with pivots; null if it has none. */
export function inverse(matrix: Rows): number[][] | null {
  const size = matrix.length;
  const largest = Math.max(...matrix.flat().map(Math.abs));
  const work = matrix.map((row, i) => [...row, ...row.map((_, j) => (i === j ? 1 : 0))]);
  for (let column = 0; column < size; column++) {
    let pivot = column;
    for (let row = column + 1; row < size; row++) {
      if (Math.abs(work[row]![column]!) > Math.abs(work[pivot]![column]!)) pivot = row;
    }
    if (!(Math.abs(work[pivot]![column]!) > 1e-12 * largest)) return null;
    [work[column], work[pivot]] = [work[pivot]!, work[column]!];
    const top = work[column]!;
    const divisor = top[column]!;
    for (let k = 0; k < 2 * size; k++) top[k] = top[k]! / divisor;
    for (let row = 0; row < size; row++) {
      if (row === column) continue;
      const factor = work[row]![column]!;
      for (let k = 0; k < 2 * size; k++) work[row]![k] = work[row]![k]! - factor * top[k]!;
    }
  }
  return work.map((row) => row.slice(size));
}

/** Eigenvalues of a symmetric matrix in ascending order, by Jacobi rotations. */
export function eigenvalues(matrix: Rows): number[] {
  const a = matrix.map((row, i) => row.map((value, j) => (value + matrix[j]![i]!) / 2));
  const size = a.length;
  for (let sweep = 0; sweep < 60; sweep++) {
    let rest = 0;
    for (let p = 0; p < size; p++) for (let q = p + 1; q < size; q++) rest += a[p]![q]! ** 2;
    if (rest < 1e-24 * (1 + Math.max(...a.map((row, i) => row[i]! ** 2)))) break;
    for (let p = 0; p < size; p++) for (let q = p + 1; q < size; q++) rotate(a, p, q);
  }
  return a.map((row, i) => row[i]!).sort((x, y) => x - y);
}

function rotate(a: number[][], p: number, q: number): void {
  if (a[p]![q] === 0) return;
  const theta = (a[q]![q]! - a[p]![p]!) / (2 * a[p]![q]!);
  const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
  const c = 1 / Math.hypot(t, 1);
  const s = t * c;
  for (let k = 0; k < a.length; k++) {
    const [x, y] = [a[k]![p]!, a[k]![q]!];
    a[k]![p] = c * x - s * y;
    a[k]![q] = s * x + c * y;
  }
  for (let k = 0; k < a.length; k++) {
    const [x, y] = [a[p]![k]!, a[q]![k]!];
    a[p]![k] = c * x - s * y;
    a[q]![k] = s * x + c * y;
  }
}

export interface Averages {
  bulk: number;
  shear: number;
  young: number;
  poisson: number;
  anisotropy: number;
}

/** Voigt-Reuss-Hill means of a stable elastic matrix (6, 6) in GPa; null if a strain costs no energy. */
export function averages(elastic: Rows): Averages | null {
  const weights = [1, 1, 1, Math.SQRT2, Math.SQRT2, Math.SQRT2];
  const mandel = elastic.map((row, i) => row.map((value, j) => value * weights[i]! * weights[j]!));
  const compliance = inverse(elastic);
  if (compliance === null || eigenvalues(mandel)[0]! <= 0) return null;
  const parts = (m: Rows): readonly [number, number, number] => [
    m[0]![0]! + m[1]![1]! + m[2]![2]!,
    m[0]![1]! + m[1]![2]! + m[2]![0]!,
    m[3]![3]! + m[4]![4]! + m[5]![5]!,
  ];
  const [c, off, shears] = parts(elastic);
  const [s, away, soft] = parts(compliance);
  const bulkVoigt = (c + 2 * off) / 9;
  const shearVoigt = (c - off + 3 * shears) / 15;
  const bulkReuss = 1 / (s + 2 * away);
  const shearReuss = 15 / (4 * (s - away) + 3 * soft);
  const [bulk, shear] = [(bulkVoigt + bulkReuss) / 2, (shearVoigt + shearReuss) / 2];
  return {
    bulk,
    shear,
    young: (9 * bulk * shear) / (3 * bulk + shear),
    poisson: (3 * bulk - 2 * shear) / (2 * (3 * bulk + shear)),
    anisotropy: (5 * shearVoigt) / shearReuss + bulkVoigt / bulkReuss - 6,
  };
}

/** Lattice directions [uvw] with indices up to `most`, small indices first, as unit vectors. */
export function latticeDirections(cell: Matrix, most: number): { indices: Vec; direction: Vec }[] {
  const found: { indices: Vec; direction: Vec }[] = [];
  for (let u = -most; u <= most; u++) {
    for (let v = -most; v <= most; v++) {
      for (let w = -most; w <= most; w++) {
        const d = combine([u, v, w], cell);
        if (norm(d) > 0) found.push({ indices: [u, v, w], direction: unit(d) });
      }
    }
  }
  const size = ({ indices }: { indices: Vec }): number =>
    indices.reduce((sum, k) => sum + k * k, 0) + 0.1 * indices.filter((k) => k < 0).length;
  return found.sort((a, b) => size(a) - size(b));
}

/** Nearest lattice direction [uvw] with indices up to `most`, and the angle to it in degrees. */
export function latticeDirection(cell: Matrix, n: Vec, most = 3): { indices: Vec; angle: number } {
  let best: Vec = [0, 0, 1];
  let closest = -1;
  for (const { indices, direction } of latticeDirections(cell, most)) {
    const cosine = dot(direction, n);
    if (cosine > closest + 1e-9) [closest, best] = [cosine, indices]; // of parallel ones the shortest
  }
  return { indices: best, angle: (Math.acos(Math.min(1, closest)) * 180) / Math.PI };
}
