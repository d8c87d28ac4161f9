/** A frame with ticks and the mapping of numbers to places: what every chart begins with. */

import { svg } from "../dom";

export interface Plot {
  root: SVGSVGElement;
  x: (value: number) => number;
  y: (value: number) => number;
  /** Where curves go: cut off at the frame. */
  inside: SVGGElement;
  frame: Frame;
}

export interface Frame {
  width: number;
  height: number;
  left: number;
  right: number;
  top: number;
  bottom: number;
}

export interface AxisText {
  title: string;
  label: string;
  x: string;
  y: string;
}

type Range = readonly [number, number];
let made = 0;

/** Round numbers in a range, about `count` of them. */
export function ticks([low, high]: Range, count: number): number[] {
  const raw = (high - low) / count;
  if (!(raw > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((k) => k * power >= raw * 0.999) ?? 10);
  const found: number[] = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

/** Where ticks stand and what they say; on a logarithmic axis the range is that of the logarithm. */
export function marks(range: Range, count: number, log: boolean): { at: number; text: string }[] {
  if (!log) return ticks(range, count).map((at) => ({ at, text: sign(at) }));
  const found: { at: number; text: string }[] = [];
  const steps = range[1] - range[0] > 2.5 ? [1] : [1, 2, 5];
  for (let power = Math.floor(range[0]); power <= range[1]; power++) {
    for (const step of steps) {
      const at = power + Math.log10(step);
      if (at >= range[0] && at <= range[1]) found.push({ at, text: String(Number((step * 10 ** power).toPrecision(3))) });
    }
  }
  return found;
}

export function plot(size: readonly [number, number], xs: Range, ys: Range, text: AxisText, xTicks = true, logs: readonly [boolean, boolean] = [false, false]): Plot {
  const [width, height] = size;
  const frame: Frame = { width, height, left: 52, right: width - 14, top: 12, bottom: height - 40 };
  const x = (value: number): number => frame.left + ((value - xs[0]) / (xs[1] - xs[0])) * (frame.right - frame.left);
  const y = (value: number): number => frame.bottom - ((value - ys[0]) / (ys[1] - ys[0])) * (frame.bottom - frame.top);
  const clip = `clip-${++made}`;
  const box = { x: frame.left, y: frame.top, width: frame.right - frame.left, height: frame.bottom - frame.top };
  const inside = svg("g", { "clip-path": `url(#${clip})` });
  const root = svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": text.label },
    svg("title", {}, text.title),
    svg("defs", {}, svg("clipPath", { id: clip }, svg("rect", box))),
    svg("rect", { ...box, class: "frame" }),
  );
  for (const { at, text: words } of marks(ys, Math.max(3, Math.round(box.height / 48)), logs[1])) {
    root.append(
      svg("line", { x1: frame.left - 4, x2: frame.left, y1: y(at), y2: y(at), class: "axis" }),
      svg("text", { x: frame.left - 7, y: y(at) + 4, class: "tick end" }, words),
    );
  }
  if (xTicks) {
    for (const { at, text: words } of marks(xs, Math.max(3, Math.round(box.width / 80)), logs[0])) {
      root.append(
        svg("line", { x1: x(at), x2: x(at), y1: frame.bottom, y2: frame.bottom + 4, class: "axis" }),
        svg("text", { x: x(at), y: frame.bottom + 17, class: "tick middle" }, words),
      );
    }
  }
  const [mx, my] = [(frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2];
  root.append(
    svg("text", { x: mx, y: height - 5, class: "name middle" }, text.x),
    svg("text", { x: 0, y: 0, class: "name middle", transform: `translate(12 ${my}) rotate(-90)` }, text.y),
    inside,
  );
  return { root, x, y, inside, frame };
}

const sign = (value: number): string => String(value).replace("-", "−");

/** A curve through points; what is not finite parts it. */
export function curve(points: readonly (readonly [number, number])[], kind: string): SVGPathElement {
  let d = "";
  let pen = false;
  for (const [px, py] of points) {
    const there = Number.isFinite(px) && Number.isFinite(py);
    if (there) d += `${pen ? "L" : "M"}${px.toFixed(1)} ${Math.max(-1e4, Math.min(1e4, py)).toFixed(1)}`;
    pen = there;
  }
  return svg("path", { d, class: kind });
}
