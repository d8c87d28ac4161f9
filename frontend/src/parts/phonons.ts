/** Phonons: bands, modes that move, LO-TO splitting by direction, infrared spectra. */

import { bandChart, WAVENUMBER } from "../charts/bands";
import { infraredChart, type Kind, spectrum } from "../charts/infrared";
import { button, choice, fileName, h, save, slider } from "../dom";
import { Camera, homeOf } from "../gl/camera";
import { Stage } from "../gl/stage";
import { cellOf } from "../crystal/lattice";
import { unit, type Vec } from "../math/vectors";
import type { Along, Infrared, Longitudinal, Phonons } from "../types";
import { Vibration } from "../views/mode";
import { stageButtons } from "./exports";
import { chartFigure } from "./figure";
import { fixed, formula, groupSymbol } from "./numbers";
import { noteList } from "./result";
import { scrolled } from "./tables";

const FREE = "free";

export class PhononPanel {
  readonly element = h("section", { class: "phonons", "aria-label": "Phonons" });
  private stop: () => void = () => undefined;

  show(data: Phonons, id: string): void {
    this.stop();
    const { structure } = data;
    this.element.replaceChildren(
      h("h2", { tabindex: -1 }, "Phonons of ", formula(structure.formula), " ", groupSymbol(structure.spacegroup.international)),
      h("p", { class: "small" }, [...data.heading.slice(1), `non-analytical correction: ${data.nac}`].join(" · ")),
      ...noteList(data.notes),
      h("div", { class: "pair" }, this.bands(data, id), this.modes(data, id)),
      ...(data.infrared ? [this.infrared(data.infrared, structure.formula, id)] : []),
      h("div", { class: "tensors" }, splitting(data.along, data), ...(data.infrared ? [longitudinal(data.infrared.directions)] : [])),
      h("details", {}, h("summary", {}, "The tables of the command line"), h("pre", { tabindex: 0, class: "table" }, data.table)),
    );
  }

  private bands(data: Phonons, id: string): HTMLElement {
    const nac = data.bands.some((segment) => segment.nac);
    return chartFigure(
      "Bands",
      (width) => bandChart(data.bands, data.structure.formula, width),
      fileName(id, "-bands"),
      nac ? [line("nac", "with NAC"), line("plain", "without")] : [],
      [],
    );
  }

  private modes(data: Phonons, id: string): HTMLElement {
    const camera = new Camera(homeOf(cellOf(data.structure)));
    const stage = new Stage(camera, `Vibrations of ${data.structure.formula}; arrow keys turn the crystal`, () => undefined);
    const few = data.structure.species.length <= 12;
    const vibration = new Vibration(data.structure, few ? [2, 2, 2] : [1, 1, 1]);
    let chosen = Math.max(0, data.modes.findIndex((mode) => !mode.acoustic));
    let running = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    let phase = 0;
    let before = 0;
    let frame = 0;
    let fresh = true;
    const draw = (): void => {
      const mode = data.modes[chosen];
      if (mode) stage.show(vibration.at(mode.displacements, phase), fresh);
      fresh = false;
    };
    const tick = (now: number): void => {
      if (before) phase += Math.min(100, now - before) * 0.0045;
      before = now;
      draw();
      frame = running ? requestAnimationFrame(tick) : 0;
    };
    const play = button(running ? "pause" : "play", () => {
      running = !running;
      play.textContent = running ? "pause" : "play";
      before = 0;
      if (running && !frame) frame = requestAnimationFrame(tick);
    });
    const names = data.modes.map((mode, k) => {
      const what = mode.acoustic ? "acoustic" : mode.irrep ?? "";
      return [String(k), `${k + 1}: ${fixed(mode.wavenumber, 1)} cm⁻¹ ${what}`] as const;
    });
    draw();
    if (running) frame = requestAnimationFrame(tick);
    this.stop = () => {
      running = false;
      cancelAnimationFrame(frame);
    };
    return h(
      "figure",
      { class: "view" },
      h("div", { class: "tools" },
        choice("Mode at Γ", names, String(chosen), (value) => {
          chosen = Number(value);
          draw();
        }),
        play),
      stage.canvas,
      h("figcaption", { class: "legend" }, "Arrows: displacements, without the field that parts LO from TO", h("span", { class: "gap" }),
        stageButtons(stage, () => fileName(id, `-mode-${chosen + 1}`))),
    );
  }

  private infrared(data: Infrared, name: string, id: string): HTMLElement {
    let kind: Kind = "reflectivity";
    let width = Math.round((data.spectrum.linewidth[0] ?? 10 / WAVENUMBER) * WAVENUMBER) || 10;
    let [polar, azimuth] = [45, 45];
    let chosen = data.directions.length ? "0" : FREE;
    const direction = (): Vec => {
      const known = data.directions[Number(chosen)];
      if (known) return unit(known.direction as unknown as Vec);
      const [t, p] = [(polar * Math.PI) / 180, (azimuth * Math.PI) / 180];
      return [Math.sin(t) * Math.cos(p), Math.sin(t) * Math.sin(p), Math.cos(t)];
    };
    const degrees = (value: number): string => `${value}°`;
    const angles = h("span", { class: "tools", hidden: chosen !== FREE },
      slider("from z", [0, 90, 1], polar, degrees, (value) => { polar = value; redraw(); }),
      slider("from x", [0, 360, 1], azimuth, degrees, (value) => { azimuth = value; redraw(); }));
    const figure = chartFigure(
      "Infrared",
      (across) => infraredChart(data, direction(), width, kind, name, across),
      fileName(id, "-infrared"),
      [],
      [
        choice("Infrared", [["reflectivity", "reflectivity"], ["permittivity", "permittivity"], ["loss", "loss"], ["absorption", "absorption"]], kind, (value) => {
          kind = value as Kind;
          legend.hidden = kind !== "permittivity";
          redraw();
        }),
        choice("field along", [...data.directions.map((entry, k) => [String(k), entry.names.join(" = ")] as const), [FREE, "any direction"]], chosen, (value) => {
          chosen = value;
          angles.hidden = value !== FREE;
          redraw();
        }),
        angles,
        slider("linewidth", [1, 80, 1], width, (value) => `${value} cm⁻¹`, (value) => { width = value; redraw(); }),
        button("CSV", () => {
          const rows = spectrum(data, direction(), width).map((p) => [p.wavenumber, p.real, p.imaginary, p.reflectivity, p.loss, p.absorption].map((v) => v.toPrecision(7)).join(","));
          save(fileName(id, "-infrared.csv"), `cm-1,eps_real,eps_imag,reflectivity,loss,absorption_cm-1\n${rows.join("\n")}\n`, "text/csv");
        }, "this spectrum as numbers"),
      ],
    );
    const legend = h("span", { class: "keys", hidden: true }, line("plain", "real"), line("nac", "imaginary"));
    figure.append(h("figcaption", { class: "legend" }, legend));
    const redraw = (): void => {
      figure.dispatchEvent(new Event("redraw"));
    };
    return figure;
  }
}

const line = (kind: string, text: string): HTMLElement => h("span", { class: "key" }, h("i", { class: `stroke ${kind}`, "aria-hidden": true }), text);

function splitting(along: readonly Along[], data: Phonons): HTMLElement {
  const optical = data.modes.map((mode, k) => ({ mode, k })).filter(({ mode }) => !mode.acoustic);
  const head = h("tr", {}, ...["mode", "irrep", "TO", ...along.map((entry) => `q → 0 along ${entry.names.join(" = ")}`)].map((name) => h("th", { scope: "col" }, name)));
  const body = h("tbody");
  for (const { mode, k } of optical) {
    body.append(h("tr", {}, h("th", { scope: "row" }, String(k + 1)), h("td", { class: "text" }, mode.irrep ?? ""), h("td", {}, fixed(mode.wavenumber, 1)),
      ...along.map((entry) => {
        const shift = (entry.splitting[k] ?? 0) * WAVENUMBER;
        const text = fixed((entry.frequencies[k] ?? NaN) * WAVENUMBER, 1);
        return h("td", {}, Math.abs(shift) > 0.5 ? h("strong", {}, text) : text);
      })));
  }
  return h("section", { class: "tensor-card" }, h("h3", {}, "LO-TO splitting", h("span", { class: "soft" }, "cm⁻¹")),
    scrolled("LO-TO splitting by direction", h("thead", {}, head), body, "tensor"), h("p", { class: "small" }, "bold: shifted by the field of the wave"));
}

function longitudinal(directions: readonly Longitudinal[]): HTMLElement {
  const head = h("tr", {}, ...["along", "TO", "LO", "Π (LO/TO)²", "ε₀/ε∞"].map((name) => h("th", { scope: "col" }, name)));
  const body = h("tbody");
  for (const entry of directions) {
    entry.transverse.forEach((to, k) => body.append(h("tr", {},
      h("th", { scope: "row" }, k ? "" : entry.names.join(" = ")),
      h("td", {}, fixed(to * WAVENUMBER, 1)),
      h("td", {}, fixed((entry.longitudinal[k] ?? NaN) * WAVENUMBER, 1)),
      h("td", {}, k ? "" : fixed(entry.product)), h("td", {}, k ? "" : fixed(entry.ratio)))));
    if (entry.reason) body.append(h("tr", {}, h("td", { colspan: 5, class: "text soft" }, entry.reason)));
  }
  return h("section", { class: "tensor-card" }, h("h3", {}, "Poles and zeros of n·ε·n", h("span", { class: "soft" }, "cm⁻¹")),
    scrolled("TO and LO frequencies by direction with the Lyddane-Sachs-Teller relation", h("thead", {}, head), body, "tensor"));
}
