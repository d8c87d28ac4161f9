/** The orientation that several views share; each has its own zoom and shift. */

import {
  cross, dot, type Matrix, matrixOf, multiply, norm, normalized, type Quaternion, quaternionOf, scale, subtract, turn,
  unit, type Vec,
} from "../math/vectors";

export class Camera {
  private orientation: Quaternion;
  private listeners = new Set<() => void>();

  constructor(private readonly home: Quaternion) {
    this.orientation = home;
  }

  get rotation(): Matrix {
    return matrixOf(this.orientation);
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Turn by angles (radian) about the vertical and the horizontal axis of the screen, and about the line of sight. */
  rotate(right: number, down: number, roll = 0): void {
    const angle = Math.hypot(right, down, roll);
    if (angle === 0) return;
    this.set(multiply(turn([down / angle, right / angle, roll / angle], angle), this.orientation));
  }

  reset(): void {
    this.set(this.home);
  }

  /** Look against `toward`, so that it points at the eye; `up` points up as far as it can. */
  look(toward: Vec, up: Vec): void {
    this.set(facing(toward, up));
  }

  private set(orientation: Quaternion): void {
    this.orientation = normalized(orientation);
    for (const listener of this.listeners) listener();
  }
}

export function facing(toward: Vec, up: Vec): Quaternion {
  const z = unit(toward);
  let y = subtract(up, scale(z, dot(up, z)));
  if (norm(y) < 1e-6) y = Math.abs(z[2]) < 0.9 ? subtract([0, 0, 1], scale(z, z[2])) : subtract([0, 1, 0], scale(z, z[1]));
  y = unit(y);
  return quaternionOf([cross(y, z), y, z]);
}

/**
 * From a little right of a and above, the usual look at a crystal, c up. Primitive cells, whose c leans against a and b,
 * are shown along their Cartesian axes, which are those of the conventional cell.
 */
export function homeOf(cell: Matrix): Quaternion {
  const upright = Math.abs(dot(unit(cell[2]), unit(cell[0]))) + Math.abs(dot(unit(cell[2]), unit(cell[1]))) < 0.02;
  const c: Vec = upright ? unit(cell[2]) : [0, 0, 1];
  const a = upright ? unit(cell[0]) : ([1, 0, 0] as const);
  const b = cross(c, a);
  const from: Vec = [0, 1, 2].map((k) => 0.94 * a[k]! - 0.34 * b[k]! + 0.3 * c[k]!) as unknown as Vec;
  return facing(from, c);
}
