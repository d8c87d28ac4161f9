/** Spectra and axes against closed forms. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { ticks } from "../src/charts/axes";
import { optical } from "../src/charts/infrared";
import { digits, fixed } from "../src/parts/numbers";

const close = (a: number, b: number, tolerance = 1e-9): void =>
  assert.ok(Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b)), `${a} is not ${b}`);

test("far below all modes the permittivity is static, far above it is eps_inf", () => {
  close(optical(3, [[400, 6]], 10, 1e-3).real, 9, 1e-6);
  close(optical(3, [[400, 6]], 10, 4e5).real, 3, 1e-4);
});

test("at the frequency of a mode the imaginary part is share * f0 / width", () => {
  close(optical(3, [[400, 6]], 10, 400).imaginary, (6 * 400) / 10);
  close(optical(3, [[400, 6]], 10, 400).real, 3);
});

test("the loss peaks at the longitudinal frequency f0 sqrt(eps_0 / eps_inf)", () => {
  const at = 400 * Math.sqrt(9 / 3);
  const loss = (f: number): number => optical(3, [[400, 6]], 0.1, f).loss;
  assert.ok(loss(at) > loss(at - 1) && loss(at) > loss(at + 1));
});

test("between TO and LO an undamped crystal reflects all light, and glass of index 1.5 reflects 4 %", () => {
  close(optical(3, [[400, 6]], 0, 500).reflectivity, 1);
  close(optical(2.25, [], 10, 1000).reflectivity, 0.04);
});

test("ticks are round and inside", () => {
  assert.deepEqual(ticks([0, 1], 5), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(ticks([-130, 820], 4), [0, 500]);
});

test("numbers have no minus before zero and a true one elsewhere", () => {
  assert.equal(fixed(-0.0001), "0.000");
  assert.equal(fixed(-1.5), "−1.500");
  assert.equal(digits(0.012345), "0.0123");
  assert.equal(digits(1234.5), "1235");
  assert.equal(fixed(null), "–");
});
