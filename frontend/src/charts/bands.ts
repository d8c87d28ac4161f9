/** Phonon bands along a path, with and without the non-analytical correction. */

import { svg } from "../dom";
import type { BandSegment } from "../types";
import { curve, plot } from "./axes";

/** cm^-1 per THz. */
export const WAVENUMBER = 33.35640951981521;
const LETTERS: Record<string, string> = { GAMMA: "Γ", "\\Gamma": "Γ", "$\\Gamma$": "Γ", G: "Γ", SIGMA: "Σ", DELTA: "Δ", LAMBDA: "Λ" };
const pretty = (name: string): string => LETTERS[name] ?? name.replace(/_(\d)/, (_, k: string) => "₀₁₂₃₄₅₆₇₈₉"[Number(k)] ?? k);

export function bandChart(bands: readonly BandSegment[], formula: string, width: number): SVGSVGElement {
  const all = bands.flatMap((segment) => [...segment.frequencies.flat(), ...(segment.nac?.flat() ?? [])]).map((f) => f * WAVENUMBER);
  const [least, most] = [Math.min(0, ...all), Math.max(1, ...all)];
  const start = bands[0]?.distances[0] ?? 0;
  const end = bands[bands.length - 1]?.distances.at(-1) ?? 1;
  const nac = bands.some((segment) => segment.nac);
  const chart = plot([width, 340], [start, end], [least < -1 ? least * 1.08 : 0, most * 1.04], {
    title: `Phonon bands of ${formula}`,
    label: `Phonon bands of ${formula}, from ${least.toFixed(0)} to ${most.toFixed(0)} per centimeter`,
    x: "", y: "wavenumber / cm⁻¹",
  }, false);
  const { x, y, inside, frame, root } = chart;
  if (least < -1) inside.append(svg("line", { x1: frame.left, x2: frame.right, y1: y(0), y2: y(0), class: "zero" }));
  for (const segment of bands) {
    for (const [rows, kind] of [[segment.frequencies, nac ? "curve plain" : "curve nac"], [segment.nac, "curve nac"]] as const) {
      if (!rows) continue;
      for (let band = 0; band < (rows[0]?.length ?? 0); band++) {
        inside.append(curve(rows.map((row, k) => [x(segment.distances[k]!), y(row[band]! * WAVENUMBER)]), kind));
      }
    }
  }
  bands.forEach((segment, k) => {
    const before = bands[k - 1];
    const name = before && before.end !== segment.start ? `${pretty(before.end)}|${pretty(segment.start)}` : pretty(segment.start);
    mark(root, x(segment.distances[0]!), name, frame.top, frame.bottom);
    if (k === bands.length - 1) mark(root, x(segment.distances.at(-1)!), pretty(segment.end), frame.top, frame.bottom);
  });
  return root;
}

function mark(root: SVGSVGElement, at: number, name: string, top: number, bottom: number): void {
  root.append(
    svg("line", { x1: at, x2: at, y1: top, y2: bottom, class: "rule" }),
    svg("text", { x: at, y: bottom + 17, class: "tick middle" }, name),
  );
}
