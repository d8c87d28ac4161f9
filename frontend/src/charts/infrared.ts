/** Infrared spectra of damped oscillators, for any linewidth and direction. */

import { svg } from "../dom";
import { along } from "../math/tensors";
import type { Vec } from "../math/vectors";
import type { Infrared, InfraredMode } from "../types";
import { curve, plot } from "./axes";
import { WAVENUMBER } from "./bands";

export interface Optical {
  /** cm^-1. */
  wavenumber: number;
  real: number;
  imaginary: number;
  reflectivity: number;
  loss: number;
  /** cm^-1. */
  absorption: number;
}

export type Kind = "permittivity" | "reflectivity" | "loss" | "absorption";

/**
 * n.eps.n = n.eps_inf.n + sum of share f0^2 / (f0^2 - f^2 - i g f) over optical modes (Born and Huang), and what
 * follows at normal incidence: R = |(m - 1)/(m + 1)|^2 with m^2 = eps, loss -Im(1/eps), absorption 4 pi Im(m) / wavelength.
 */
export function optical(infinite: number, modes: readonly (readonly [number, number])[], width: number, wavenumber: number): Optical {
  let [real, imaginary] = [infinite, 0];
  for (const [at, share] of modes) {
    const detuned = at * at - wavenumber * wavenumber;
    const damped = width * wavenumber;
    const size = (share * at * at) / (detuned * detuned + damped * damped);
    real += size * detuned;
    imaginary += size * damped;
  }
  const modulus = Math.hypot(real, imaginary);
  const n = Math.sqrt(Math.max(0, (modulus + real) / 2));
  const k = Math.sqrt(Math.max(0, (modulus - real) / 2));
  return {
    wavenumber, real, imaginary,
    reflectivity: ((n - 1) ** 2 + k * k) / ((n + 1) ** 2 + k * k),
    loss: imaginary / (modulus * modulus),
    absorption: 4 * Math.PI * wavenumber * k,
  };
}

export function spectrum(infrared: Infrared, n: Vec, width: number, points = 1200): Optical[] {
  const modes = infrared.modes
    .filter((mode: InfraredMode) => mode.kind === "optical")
    .map((mode) => [mode.wavenumber, along(mode.share, n)] as const);
  const infinite = along(infrared.eps_inf, n);
  const top = highest(infrared);
  return Array.from({ length: points }, (_, k) => optical(infinite, modes, width, ((k + 0.5) / points) * top));
}

/** End of the axis: above the highest longitudinal frequency. */
function highest(infrared: Infrared): number {
  const longitudinal = infrared.directions.flatMap((entry) => entry.longitudinal).map((f) => f * WAVENUMBER);
  return 1.25 * Math.max(100, ...infrared.modes.map((mode) => mode.wavenumber), ...longitudinal);
}

export function infraredChart(infrared: Infrared, n: Vec, width: number, kind: Kind, formula: string, size: number): SVGSVGElement {
  const points = spectrum(infrared, n, width);
  const curves: [string, (point: Optical) => number][] =
    kind === "permittivity" ? [["curve plain", (p) => p.real], ["curve nac", (p) => p.imaginary]] : [["curve nac", (p) => p[kind]]];
  const values = curves.flatMap(([, value]) => points.map(value));
  const range = kind === "reflectivity" ? [0, 1] as const
    : kind === "permittivity" ? [Math.min(...values) * 1.05, Math.max(...values) * 1.05] as const
    : [0, Math.max(...values) * 1.05] as const;
  const names: Record<Kind, string> = {
    permittivity: "permittivity n·ε·n", reflectivity: "reflectivity", loss: "loss −Im(1/ε)", absorption: "absorption / cm⁻¹",
  };
  const strongest = points.reduce((best, point) => (point.imaginary > best.imaginary ? point : best));
  const { root, inside, x, y, frame } = plot([size, 300], [0, points.at(-1)!.wavenumber], range, {
    title: `Infrared ${kind} of ${formula}`,
    label: `Infrared ${kind} of ${formula} against wavenumber; strongest absorption at ${strongest.wavenumber.toFixed(0)} per centimeter`,
    x: "wavenumber / cm⁻¹", y: names[kind],
  });
  if (range[0] < 0) inside.append(svg("line", { x1: frame.left, x2: frame.right, y1: y(0), y2: y(0), class: "zero" }));
  for (const [style, value] of curves) inside.append(curve(points.map((p) => [x(p.wavenumber), y(value(p))]), style));
  return root;
}
