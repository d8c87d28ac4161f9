/** The Pareto front of a screening: all crystals as a cloud, those on the front to be chosen. */

import { svg } from "../dom";
import { digits } from "../parts/numbers";
import { plot } from "./axes";

export interface FrontAxis {
  label: string;
  log: boolean;
  /** Whether more is better. */
  maximize: boolean;
}

export interface FrontPoint {
  id: string;
  formula: string;
  x: number;
  y: number;
  flags: string;
  /** Whether the page holds its crystal. */
  held: boolean;
}

export interface Front {
  x: FrontAxis;
  y: FrontAxis;
  /** From the left to the right. */
  points: FrontPoint[];
  /** Some of all crystals. */
  cloud: [number, number][];
}

const FEW = 12;

export function frontChart(front: Front, chosen: string, width: number, choose: (id: string) => void): SVGSVGElement {
  const across = (value: number): number => (front.x.log ? Math.log10(value) : value);
  const upward = (value: number): number => (front.y.log ? Math.log10(value) : value);
  const all = [...front.cloud, ...front.points.map((point) => [point.x, point.y] as const)];
  const range = (values: number[]): readonly [number, number] => {
    const known = values.filter(Number.isFinite);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const room = 0.05 * (high - low) || 0.5;
    return [low - room, high + room];
  };
  const chart = plot([width, 420], range(all.map(([x]) => across(x))), range(all.map(([, y]) => upward(y))), {
    title: "Pareto front",
    label: `Pareto front of ${front.points.length} crystals: ${front.y.label} against ${front.x.label}`,
    x: front.x.label, y: front.y.label,
  }, true, [front.x.log, front.y.log]);
  const { root, inside, x, y } = chart;
  for (const [cx, cy] of front.cloud) inside.append(svg("circle", { cx: x(across(cx)), cy: y(upward(cy)), r: 1.5, class: "cloud" }));
  inside.append(svg("path", { d: staircase(front, (point) => [x(across(point.x)), y(upward(point.y))]), class: "stairs" }));
  root.setAttribute("role", "group");
  const points = svg("g", { role: "listbox", "aria-label": "Crystals on the front" });
  front.points.forEach((point, k) => {
    const [cx, cy] = [x(across(point.x)), y(upward(point.y))];
    const words = `${point.formula} (${point.id}): ${digits(point.x)}, ${digits(point.y)}${point.flags ? `, flags ${point.flags}` : ""}`;
    const here = point.id === chosen;
    const mark = svg("g", {
      class: `point${here ? " here" : ""}${point.flags ? " hollow" : ""}${point.held ? "" : " absent"}`,
      role: "option", "aria-label": words, "aria-selected": here, "data-id": point.id,
      ...(point.held ? { tabindex: 0, onclick: () => choose(point.id), onkeydown: (event: Event) => {
        if (["Enter", " "].includes((event as KeyboardEvent).key)) {
          event.preventDefault();
          choose(point.id);
        }
      } } : {}),
    }, svg("title", {}, words), svg("circle", { cx, cy, r: 10, class: "room" }), svg("circle", { cx, cy, r: here ? 6.5 : 4.5, class: "dot" }));
    const every = Math.ceil(front.points.length / FEW);
    if (here || k % every === 0) mark.append(svg("text", { x: cx + 8, y: cy - 6 }, point.formula));
    points.append(mark);
  });
  root.append(points);
  return root;
}

/** The border of what was attained: the best y among all x at least as good. */
function staircase(front: Front, place: (point: FrontPoint) => [number, number]): string {
  let d = "";
  let before: [number, number] | null = null;
  for (const point of front.points) {
    const [px, py] = place(point);
    if (!before) d = `M${px} ${py}`;
    else d += front.x.maximize ? `V${py}H${px}` : `H${px}V${py}`;
    before = [px, py];
  }
  return d;
}
