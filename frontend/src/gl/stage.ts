/** A canvas that shows batches and labels, turns with its camera, and tells what the pointer is on. */

import { times, transpose, subtract, type Vec, norm } from "../math/vectors";
import { theme } from "../dom";
import type { Camera } from "./camera";
import { type Batch, renderer, type Shot } from "./renderer";

export interface Label {
  text: string;
  place: Vec;
  kind: "axis" | "atom";
}

export interface Content {
  batches: Batch[];
  labels: Label[];
  center: Vec;
  /** Radius of what is to be seen, Angstrom, and points that fit into the picture at first. */
  extent: number;
  outline: Vec[];
  /** Balls behind which labels of atoms are not written. */
  balls?: { place: Vec; radius: number }[];
}

/** A line of sight: all points `origin` + t `direction`, t growing away from the eye. */
export interface Ray {
  origin: Vec;
  direction: Vec;
}

const PER_PIXEL = 0.009; // radian
const STEP = Math.PI / 24;

export class Stage {
  readonly canvas = document.createElement("canvas");
  private content: Content = { batches: [], labels: [], center: [0, 0, 0], extent: 1, outline: [] };
  private zoom = 1;
  private fitted: (width: number, height: number) => number = () => 1;
  private pan: [number, number] = [0, 0];
  private pending = 0;
  private camera: Camera;
  private leave: () => void;
  private pointers = new Map<number, [number, number]>();

  /** `hover`: called with the line of sight under the pointer, null where there is none. */
  constructor(camera: Camera, label: string, private readonly hover: (ray: Ray | null, x: number, y: number) => void) {
    this.camera = camera;
    this.leave = camera.subscribe(() => this.request());
    this.canvas.className = "stage";
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", label);
    this.listen();
    new ResizeObserver(() => this.request()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.request());
  }

  use(camera: Camera): void {
    this.leave();
    this.camera = camera;
    this.leave = camera.subscribe(() => this.request());
    this.request();
  }

  show(content: Content, fit = false): void {
    this.content = content;
    if (fit) this.fit();
    this.request();
  }

  /** Choose the size so that the outline fills the picture as it is turned now; it stays while the crystal turns. */
  private fit(): void {
    const rotation = this.camera.rotation;
    let [across, up] = [0.5, 0.5];
    for (const point of this.content.outline) {
      const [x, y] = times(rotation, subtract(point, this.content.center));
      [across, up] = [Math.max(across, Math.abs(x)), Math.max(up, Math.abs(y))];
    }
    for (const { place, radius } of this.content.balls ?? []) {
      const [x, y] = times(rotation, subtract(place, this.content.center));
      [across, up] = [Math.max(across, Math.abs(x) + radius), Math.max(up, Math.abs(y) + radius)];
    }
    this.fitted = (width, height) => Math.min((0.46 * width) / (across + 0.4), (0.46 * height) / (up + 0.4));
    this.zoom = 1;
    this.pan = [0, 0];
  }

  /** Draw now, as large as the canvas is, or `factor` times as large for a file. */
  draw(): void {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const [width, height] = [Math.round(this.canvas.clientWidth * ratio), Math.round(this.canvas.clientHeight * ratio)];
    if (width === 0 || height === 0) return;
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    this.paint(this.canvas, ratio);
  }

  /** A picture for a file, `factor` times the size on the page. */
  picture(factor: number): HTMLCanvasElement {
    const made = document.createElement("canvas");
    made.width = Math.round(this.canvas.clientWidth * factor);
    made.height = Math.round(this.canvas.clientHeight * factor);
    this.paint(made, factor);
    return made;
  }

  reset(): void {
    this.camera.reset();
    this.fit();
    this.request();
  }

  request(): void {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      this.draw();
    });
  }

  private paint(canvas: HTMLCanvasElement, ratio: number): void {
    const engine = renderer();
    const context = canvas.getContext("2d")!;
    const colors = theme();
    const shot = this.shot(canvas.width, canvas.height, ratio);
    if (engine) {
      engine.draw(this.content.batches, { ...shot, background: colors.page }, canvas.width, canvas.height);
      const top = engine.canvas.height - canvas.height;
      context.drawImage(engine.canvas, 0, top, canvas.width, canvas.height, 0, 0, canvas.width, canvas.height);
    } else {
      context.fillStyle = colors.ink;
      context.font = `${13 * ratio}px system-ui, sans-serif`;
      context.fillText("This browser draws no WebGL2; the tables hold all numbers.", 12 * ratio, 24 * ratio);
    }
    this.write(context, shot, ratio, colors.ink, colors.paper);
  }

  private shot(width: number, height: number, ratio: number): Shot {
    const { center, extent } = this.content;
    const zoom = this.fitted(width, height) * this.zoom;
    const pan = [this.pan[0] * ratio, this.pan[1] * ratio] as const;
    return { rotation: this.camera.rotation, center, zoom, pan, depth: 1.6 * extent, background: [1, 1, 1], haze: 0.42 };
  }

  private write(context: CanvasRenderingContext2D, shot: Shot, ratio: number, ink: string, paper: string): void {
    const { width, height } = context.canvas;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const balls = (this.content.balls ?? []).map(({ place, radius }) => ({ seen: times(shot.rotation, subtract(place, shot.center)), radius }));
    for (const label of this.content.labels) {
      const [x, y, z] = times(shot.rotation, subtract(label.place, shot.center));
      const behind = ({ seen, radius }: { seen: Vec; radius: number }): boolean =>
        seen[2] > z + 0.3 && Math.hypot(seen[0] - x, seen[1] - y) < radius;
      if (label.kind === "atom" && balls.some(behind)) continue;
      const size = (label.kind === "axis" ? 14 : 11.5) * ratio;
      context.font = `${label.kind === "axis" ? "italic 600" : "600"} ${size}px system-ui, sans-serif`;
      const at = [width / 2 + x * shot.zoom + shot.pan[0], height / 2 - y * shot.zoom + shot.pan[1]] as const;
      context.lineWidth = 3 * ratio;
      context.lineJoin = "round";
      context.strokeStyle = paper;
      context.strokeText(label.text, ...at);
      context.fillStyle = ink;
      context.globalAlpha = label.kind === "axis" ? 0.75 : 1;
      context.fillText(label.text, ...at);
      context.globalAlpha = 1;
    }
  }

  private ray(x: number, y: number): Ray {
    const box = this.canvas.getBoundingClientRect();
    const shot = this.shot(box.width, box.height, 1);
    const seen: Vec = [
      (x - box.left - box.width / 2 - shot.pan[0]) / shot.zoom,
      -(y - box.top - box.height / 2 - shot.pan[1]) / shot.zoom,
      2 * this.content.extent,
    ];
    const back = transpose(shot.rotation);
    const origin = times(back, seen).map((value, k) => value + shot.center[k]!) as unknown as Vec;
    return { origin, direction: times(back, [0, 0, -1]) };
  }

  private listen(): void {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
      this.hover(null, 0, 0);
    });
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    for (const name of ["pointerup", "pointercancel"] as const) {
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("click", (event) => this.hover(this.ray(event.clientX, event.clientY), event.clientX, event.clientY));
    canvas.addEventListener("pointerleave", () => this.hover(null, 0, 0));
    canvas.addEventListener("dblclick", () => this.reset());
    canvas.addEventListener(
      "wheel",
      (event) => {
        // The page scrolls on, unless the picture has the focus.
        if (!event.ctrlKey && document.activeElement !== canvas) return;
        event.preventDefault();
        this.magnify(Math.exp(-event.deltaY * 0.0015));
      },
      { passive: false },
    );
    canvas.addEventListener("keydown", (event) => {
      if (this.key(event)) event.preventDefault();
    });
  }

  private moved(event: PointerEvent): void {
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== "touch") this.hover(this.ray(event.clientX, event.clientY), event.clientX, event.clientY);
      return;
    }
    const [dx, dy] = [event.clientX - before[0], event.clientY - before[1]];
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (others.length > 0) {
      const [x, y] = others[0]!;
      const was = norm([before[0] - x, before[1] - y, 0]);
      this.magnify(norm([event.clientX - x, event.clientY - y, 0]) / (was || 1));
    } else if (event.shiftKey || event.buttons === 4) {
      this.pan = [this.pan[0] + dx, this.pan[1] + dy];
      this.request();
    } else {
      this.camera.rotate(dx * PER_PIXEL, dy * PER_PIXEL);
    }
  }

  private magnify(factor: number): void {
    this.zoom = Math.min(20, Math.max(0.2, this.zoom * factor));
    this.request();
  }

  private key(event: KeyboardEvent): boolean {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const turns: Record<string, [number, number, number]> = {
      ArrowLeft: [-STEP, 0, 0], ArrowRight: [STEP, 0, 0], ArrowUp: [0, -STEP, 0], ArrowDown: [0, STEP, 0],
      ",": [0, 0, STEP], ".": [0, 0, -STEP],
    };
    const angles = turns[event.key];
    if (angles) this.camera.rotate(...angles);
    else if (event.key === "+" || event.key === "=") this.magnify(1.15);
    else if (event.key === "-") this.magnify(1 / 1.15);
    else if (event.key === "0" || event.key === "Home") this.reset();
    else return false;
    return true;
  }
}
