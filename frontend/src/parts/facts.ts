/** What follows from tensors: refraction and moduli, of the API where it was asked, or else computed here. */

import { averages, eigenvalues } from "../math/tensors";
import type { Derived, Grid, Property } from "../types";
import { digits, fixed } from "./numbers";

const SAME = 1e-3;

export type Fact = readonly [string, string];

export function factsOf(property: Property, derived: Derived | null): Fact[] {
  if (property.name === "eps_inf") return refraction(property.values as Grid, derived);
  if (property.name === "elastic") return stiffness(property.values as Grid, derived);
  if (property.per === "crystal" && property.rank === 2) return [["principal values", principal(property.values as Grid)]];
  return [];
}

const principal = (tensor: Grid): string => eigenvalues(tensor).map((value) => fixed(value)).join(", ");

function refraction(tensor: Grid, derived: Derived | null): Fact[] {
  const values = eigenvalues(tensor);
  if (!(values[0]! > 0)) return [["refraction", derived?.reasons.optics ?? "none: a principal value is not positive"]];
  const [low, middle, high] = values.map(Math.sqrt) as [number, number, number];
  if (high - low <= SAME) return [["refractive index", `${fixed((low + middle + high) / 3)} (isotropic)`]];
  const facts: Fact[] = [
    ["refractive indices", [low, middle, high].map((n) => fixed(n)).join(", ")],
    ["birefringence", fixed(high - low)],
  ];
  const optics = derived?.optics;
  if (optics) {
    const sign = optics.sign > 0 ? "positive" : "negative";
    const angle = optics.axial_angle ? `, 2V = ${fixed(optics.axial_angle, 1)}°` : "";
    facts.push(["class", `${optics.kind}, ${sign}${angle}`]);
  }
  return facts;
}

function stiffness(tensor: Grid, derived: Derived | null): Fact[] {
  const mean = averages(tensor);
  if (!mean) return [["averages", derived?.reasons.moduli ?? "none: not mechanically stable"]];
  const facts: Fact[] = [
    ["bulk modulus K (Hill)", `${fixed(mean.bulk, 1)} GPa`],
    ["shear modulus G (Hill)", `${fixed(mean.shear, 1)} GPa`],
    ["Young's modulus E", `${fixed(mean.young, 1)} GPa`],
    ["Poisson's ratio ν", fixed(mean.poisson)],
    ["universal anisotropy", fixed(mean.anisotropy)],
  ];
  const range = derived?.moduli?.young_range;
  if (range) facts.push(["E over directions", `${fixed(range[0] ?? null, 1)} to ${fixed(range[1] ?? null, 1)} GPa`]);
  if (derived?.moduli) facts.push(["K/G (Pugh)", digits(derived.moduli.pugh)]);
  return facts;
}
