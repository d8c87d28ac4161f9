/** Glyphs and tensors against closed forms. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { facing, homeOf } from "../src/gl/camera";
import { bornGlyph, directional, extremes } from "../src/math/glyphs";
import { cylinder, directions, sphere, surface, volume } from "../src/math/meshes";
import { along, averages, axial, eigenvalues, inverse, latticeDirection, longitudinalPiezo, young } from "../src/math/tensors";
import { cross, dot, matrixOf, norm, times, unit, type Vec } from "../src/math/vectors";

const close = (a: number, b: number, tolerance = 1e-9): void =>
  assert.ok(Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b)), `${a} is not ${b}`);

const cubic = (c11: number, c12: number, c44: number): number[][] =>
  [0, 1, 2, 3, 4, 5].map((i) => [0, 1, 2, 3, 4, 5].map((j) => (i < 3 && j < 3 ? (i === j ? c11 : c12) : i === j ? c44 : 0)));

test("the mesh of directions is closed, of unit length and as fine as its level says", () => {
  for (const level of [0, 1, 2, 3]) {
    const { points, triangles } = directions(level);
    assert.equal(points.length, 10 * 4 ** level + 2);
    assert.equal(triangles.length / 3, 20 * 4 ** level); // Euler: V - E + F = 2 with 2 E = 3 F
    for (const point of points) close(norm(point), 1);
  }
});

test("the volume of a fine sphere is 4 pi / 3, seen from outside", () => {
  close(volume(sphere(5)), (4 * Math.PI) / 3, 2e-3);
});

test("the surface |n.T.n| of an isotropic tensor is a sphere of that radius", () => {
  const mesh = bornGlyph([[-2, 0, 0], [0, -2, 0], [0, 0, -2]], 4, 2);
  for (let k = 0; k < mesh.positions.length; k += 3) close(Math.hypot(...mesh.positions.slice(k, k + 3)), 0.5, 1e-6);
  assert.ok(mesh.colors[2]! > mesh.colors[0]!, "negative charges are blue");
});

test("the volume under r = n.T.n of diag(1, 1, 4) is the integral of r^3 / 3", () => {
  // n.T.n = 1 + 3 u^2 with u = cos(theta): 2 pi / 3 times the integral of (1 + 3 u^2)^3 over u from -1 to 1.
  const expected = ((2 * Math.PI) / 3) * 2 * (1 + 3 + 27 / 5 + 27 / 7);
  const mesh = surface(5, (n) => along([[1, 0, 0], [0, 1, 0], [0, 0, 4]], n), (r) => r, () => [1, 1, 1]);
  close(volume(mesh), expected, 3e-3);
});

test("normals of a surface stand on it", () => {
  // The sphere of radius 1 around (0.5, 0, 0) seen from the origin.
  const radius = (n: Vec): number => 0.5 * n[0] + Math.sqrt(0.75 + 0.25 * n[0] * n[0]);
  const mesh = surface(5, radius, (r) => r, () => [1, 1, 1]);
  for (let k = 0; k < mesh.positions.length; k += 999) {
    const [x, y, z] = mesh.positions.slice(k, k + 3) as unknown as Vec;
    assert.ok(dot([x - 0.5, y, z], mesh.normals.slice(k, k + 3) as unknown as Vec) > 0.999);
  }
});

test("cylinder and cone are closed: volumes of a prism and a pyramid over a polygon", () => {
  const area = (64 / 2) * Math.sin((2 * Math.PI) / 64);
  close(volume(cylinder(64)), area, 1e-5);
  close(Math.abs(volume(cylinder(64, 0))), area / 3, 1e-5);
});

test("the axial vector makes the antisymmetric part: A v = -(a x v)", () => {
  const tensor = [[1, 2, -3], [0.5, 2, 4], [1, -1, 0]];
  const anti = tensor.map((row, i) => row.map((value, j) => (value - tensor[j]![i]!) / 2)) as unknown as [Vec, Vec, Vec];
  const v: Vec = [0.3, -0.7, 0.2];
  const product = cross(axial(tensor), v);
  times(anti, v).forEach((value, k) => close(value, -product[k]!));
  assert.deepEqual(axial([[1, 5, 6], [5, 2, 7], [6, 7, 3]]), [0, 0, 0]);
});

test("Young's modulus of a cubic crystal: 1/E = S11 - 2 (S11 - S12 - S44/2) (l2m2 + m2n2 + n2l2)", () => {
  const compliance = inverse(cubic(165.7, 63.9, 79.6))!; // silicon, GPa
  const [s11, s12, s44] = [compliance[0]![0]!, compliance[0]![1]!, compliance[3]![3]!];
  for (const given of [[1, 0, 0], [1, 1, 0], [1, 1, 1], [0.2, -0.5, 0.8]] as Vec[]) {
    const [l, m, n] = unit(given);
    const mixed = l * l * m * m + m * m * n * n + n * n * l * l;
    close(young(compliance, unit(given)), 1 / (s11 - 2 * (s11 - s12 - s44 / 2) * mixed));
  }
});

test("Young's modulus does not depend on direction in an isotropic solid, and means are its constants", () => {
  const [lame, shear] = [60, 26];
  const elastic = cubic(lame + 2 * shear, lame, shear);
  const value = (shear * (3 * lame + 2 * shear)) / (lame + shear);
  const compliance = inverse(elastic)!;
  for (const n of directions(1).points) close(young(compliance, n), value);
  const mean = averages(elastic)!;
  close(mean.bulk, lame + (2 * shear) / 3);
  close(mean.shear, shear);
  close(mean.young, value);
  close(mean.poisson, lame / (2 * (lame + shear)));
  close(mean.anisotropy, 0);
});

test("an unstable crystal has no averages", () => {
  assert.equal(averages(cubic(100, 120, 50)), null);
});

test("the longitudinal coefficient of class -43m is 3 e14 2 l m n / ...: e(111) = 2 e14 / sqrt(3)", () => {
  const e14 = 0.5;
  const piezo = [[0, 0, 0, e14, 0, 0], [0, 0, 0, 0, e14, 0], [0, 0, 0, 0, 0, e14]];
  // e(n) = 2 e14 l m n * 3 with l = m = n = 1/sqrt(3)
  close(longitudinalPiezo(piezo, unit([1, 1, 1])), 6 * e14 * 3 ** -1.5);
  close(longitudinalPiezo(piezo, [1, 0, 0]), 0);
  close(longitudinalPiezo(piezo, unit([-1, -1, -1])), -6 * e14 * 3 ** -1.5);
});

test("eigenvalues of a symmetric matrix with a known spectrum", () => {
  const found = eigenvalues([[2, -1, 0], [-1, 2, -1], [0, -1, 2]]);
  [2 - Math.SQRT2, 2, 2 + Math.SQRT2].forEach((value, k) => close(found[k]!, value));
});

test("extremes of n.T.n are its principal values, in their directions", () => {
  const range = extremes((n) => along([[2, 0.3, 0], [0.3, 3, 0], [0, 0, 2.5]], n), directions(2).points);
  const [low, , high] = eigenvalues([[2, 0.3, 0], [0.3, 3, 0], [0, 0, 2.5]]);
  close(range.least, low!, 1e-7);
  close(range.greatest, high!, 1e-7);
});

test("each property has the surface that its shape asks for", () => {
  const eye = [[1, 0, 0], [0, 2, 0], [0, 0, 3]];
  close(directional("eps_inf", "", eye)!.value([0, 1, 0]), 2);
  assert.equal(directional("elastic", "GPa", cubic(1, 1, 1)), null); // singular
  assert.equal(directional("elastic", "GPa", cubic(165.7, 63.9, 79.6))!.unit, "GPa");
});

test("directions are named by the lattice", () => {
  const hexagonal = [[1, 0, 0], [-0.5, Math.sqrt(3) / 2, 0], [0, 0, 1.6]] as const;
  assert.deepEqual(latticeDirection(hexagonal, [0, 1, 0]).indices, [1, 2, 0]);
  close(latticeDirection(hexagonal, [0, 0, -1]).angle, 0, 1e-2);
});

test("looking along an axis puts it toward the eye and the other up", () => {
  const turned = matrixOf(facing([1, 0, 0], [0, 0, 1]));
  times(turned, [1, 0, 0]).forEach((value, k) => close(value, [0, 0, 1][k]!));
  times(turned, [0, 0, 1]).forEach((value, k) => close(value, [0, 1, 0][k]!));
  const hexagonal = [[3, 0, 0], [-1.5, 2.6, 0], [0, 0, 5]] as const;
  const primitive = [[0, 2, 2], [2, 0, 2], [2, 2, 0]] as const;
  for (const cell of [hexagonal, primitive]) {
    const home = matrixOf(homeOf(cell));
    assert.ok(times(home, [0, 0, 1])[1] > 0.9, "z up");
    close(times(home, [0, 0, 1])[0], 0); // and not leaning
    assert.ok(times(home, [1, 0, 0])[2] > 0.7, "x toward the eye");
  }
});
