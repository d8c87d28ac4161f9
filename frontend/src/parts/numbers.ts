/** Numbers as the command line prints them, and formulas. */

import { h } from "../dom";
import type { Property } from "../types";

/** Fixed decimals, a true minus, no minus before zero. */
export function fixed(value: number | null, decimals = 3): string {
  if (value === null || !Number.isFinite(value)) return "–";
  const text = value.toFixed(decimals);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
}

/** About three digits, for values in sentences. */
export function digits(value: number | null, count = 3): string {
  if (value === null || !Number.isFinite(value)) return "–";
  const size = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)));
  return fixed(value, Math.max(0, count - 1 - size));
}

export const withUnit = (text: string, unit: string): string => (unit ? `${text} ${prettyUnit(unit)}` : text);

export const prettyUnit = (unit: string): string => unit.replace("C/m^2", "C/m²").replace("cm^-1", "cm⁻¹");

/** "Ba0.5TiO3" with subscripts. */
export function formula(text: string): HTMLSpanElement {
  const span = h("span", { class: "formula" });
  for (const piece of text.split(/(\d+(?:\.\d+)?)/)) {
    if (piece) span.append(/^\d/.test(piece) ? h("sub", {}, piece) : piece);
  }
  return span;
}

/** "P3_221" as P3 with the subscript 2, then 21; overlines for "-3". */
export function groupSymbol(symbol: string): HTMLSpanElement {
  const span = h("span", { class: "group" });
  for (const piece of symbol.split(/(_\d|-\d)/)) {
    if (/^_/.test(piece)) span.append(h("sub", {}, piece.slice(1)));
    else if (/^-/.test(piece)) span.append(h("span", { class: "over", "aria-label": piece }, piece.slice(1)));
    else if (piece) span.append(piece);
  }
  return span;
}

export const symbolOf: Readonly<Record<string, string>> = {
  born_charges: "Z*", eps_inf: "ε∞", eps_ionic: "ε ionic", eps_total: "ε total", elastic: "C", piezo_clamped: "e clamped",
  piezo_total: "e", band_gap: "Eg", formation_energy: "Ef",
};

export const titleOf = (property: Property): string => property.label.charAt(0).toUpperCase() + property.label.slice(1);
