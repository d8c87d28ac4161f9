/** The page of `voigt serve`. */

import { button, choice, h, tick } from "../dom";
import { Result } from "../parts/result";
import type { CrystalResult, Elements, Models, Note, PredictAnswer, Repeat } from "../types";
import { elements, examples, type Input, models, type Options, predict, Refusal } from "./api";
import { Intake } from "./intake";
import { PhononJob } from "./jobs";
import { periodicTable } from "./table";
import { takeaway } from "./takeaway";

/** The default model answers first, so that the picture is there at once; then come the others. */
const FIRST = "born_charges";

export class Page {
  private status = h("p", { class: "status", role: "status", "aria-live": "polite" });
  private trouble = h("div", { class: "trouble", role: "alert" });
  private intake = new Intake((input) => void this.take(input));
  private result = new Result();
  private chooser = h("div", { class: "chooser" });
  private files = h("div");
  private offer = h("div", { class: "offer" });
  private phonons = new PhononJob();
  private seen = h("div");
  private options = h("details", { class: "options" }, h("summary", {}, "options"));
  private known: Models | null = null;
  private table: Elements | null = null;
  private leave = new AbortController();
  private functional = "";
  private allowUnseen = false;
  private input: Input | null = null;
  private present = new Set<string>();

  constructor(root: HTMLElement) {
    this.result.element.hidden = true;
    root.append(
      h("header", { class: "top" },
        h("h1", {}, "Voigt"),
        h("p", { class: "soft" }, "response tensors of crystals"),
        h("span", { class: "gap" }),
        h("a", { href: "api/openapi.json", class: "small" }, "HTTP API")),
      h("main", { id: "main" }, this.intake.element, this.options, this.status, this.trouble, this.chooser, this.result.element, this.offer, this.phonons.element, this.files, this.seen),
    );
    void this.begin();
  }

  /** For tests: orientation of the crystal. */
  get orientation(): number[] {
    return this.result.viewer.orientation;
  }

  private async begin(): Promise<void> {
    this.status.textContent = "Models are being loaded …";
    try {
      const [known, shown] = await Promise.all([models(), examples()]);
      this.known = known;
      this.intake.offer(shown);
      this.settings(known);
      await this.elementsOf(known.models.find((model) => model.default)?.name ?? "born");
      if (!this.input) this.status.textContent = "";
    } catch (error) {
      this.refuse(error);
    }
  }

  private settings(known: Models): void {
    const functionals = [...new Set(known.models.flatMap((model) => model.functionals))];
    const again = (): void => {
      if (this.input) void this.take(this.input);
    };
    this.options.replaceChildren(
      h("summary", {}, "options"),
      h("div", { class: "tools" },
        choice("functional", [["", "default of each model"], ...functionals.map((name) => [name, name] as const)], "", (value) => {
          this.functional = value;
          again();
        }),
        tick("also for elements that a model has never seen", false, (on) => {
          this.allowUnseen = on;
          again();
        }),
        h("span", { class: "soft small" }, `Voigt ${known.version} · at most ${known.limits.atoms.toLocaleString("en")} atoms, ${Math.round(known.limits.body_bytes / 1e6)} MB`)),
    );
  }

  private async elementsOf(model: string): Promise<void> {
    this.table = await elements(model);
    this.drawTable();
  }

  private drawTable(): void {
    if (!this.table || !this.known) return;
    const names = this.known.models.map((model) => model.name);
    this.seen.replaceChildren(periodicTable(this.table, this.present, names, (model) => void this.elementsOf(model).catch((error) => this.refuse(error))));
  }

  private async take(input: Input): Promise<void> {
    this.leave.abort();
    this.leave = new AbortController();
    const { signal } = this.leave;
    const start = performance.now();
    this.input = input;
    this.trouble.replaceChildren();
    this.phonons.clear();
    this.status.textContent = `Reading ${input.name || "text"} …`;
    document.documentElement.classList.add("busy");
    try {
      if (/\.zip$/i.test(input.name)) return await this.project(input);
      const all = (this.known?.properties ?? []).filter((property) => property.models.length > 0).map((property) => property.name);
      const first = this.known?.properties.find((property) => property.name === FIRST)?.models[0];
      const early = this.known?.models.find((model) => model.name === first)?.properties ?? [];
      const options: Options = { properties: early, functional: this.functional, allowUnseen: this.allowUnseen };
      const answer = await predict(input, options, signal);
      const told = performance.now();
      this.show(answer, 0, false, { ...options, properties: all });
      const built = performance.now();
      this.result.viewer.paint();
      document.documentElement.dataset.parts = [told - start, built - told, performance.now() - built].map((t) => t.toFixed(0)).join(" ");
      const took = performance.now() - start;
      document.documentElement.dataset.drawn = took.toFixed(0);
      const late = all.filter((name) => !early.includes(name));
      if (late.length) {
        this.status.textContent = "Elastic, piezoelectric and scalar properties follow …";
        const more = await predict(input, { ...options, properties: late }, signal).catch((error: unknown) => {
          if (error instanceof Refusal) this.refuse(error);
          else throw error;
          return null;
        });
        if (more) this.show({ ...joined(answer, more), repeat: widened(answer.repeat, early, all) }, 0, true, { ...options, properties: all });
      }
      this.status.textContent = summary(answer);
    } catch (error) {
      if (signal.aborted) return;
      this.empty();
      this.refuse(error);
    } finally {
      if (!signal.aborted) document.documentElement.classList.remove("busy");
    }
  }

  private empty(): void {
    this.result.element.hidden = true;
    for (const part of [this.chooser, this.files, this.offer]) part.replaceChildren();
    this.status.textContent = "";
    this.present = new Set();
    this.drawTable();
  }

  private refuse(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    this.trouble.append(h("p", {}, text));
    if (error instanceof Refusal && error.problem.kind === "unseen_elements" && this.table) {
      this.present = new Set(error.problem.elements);
      this.drawTable();
    }
  }

  private show(answer: PredictAnswer, index: number, same: boolean, options: Options): void {
    const shown = answer.crystals[index];
    if (!shown || !this.input) return;
    document.documentElement.classList.add("has-result");
    this.result.element.hidden = false;
    this.result.show(shown.scene, shown.derived, { labels: shown.sites }, same);
    this.trouble.replaceChildren(...answer.failures.map((failure) => h("p", {}, failure.text)));
    this.chooser.replaceChildren(answer.crystals.length > 1
      ? choice("structure", answer.crystals.map((entry, k) => [String(k), `${entry.scene.id} (${entry.scene.structure.formula})`] as const), String(index),
        (value) => this.show(answer, Number(value), false, options))
      : "");
    this.files.replaceChildren(takeaway({ input: this.input, options, crystals: answer.crystals, shown, repeat: answer.repeat }, (text) => this.refuse(new Error(text))));
    this.present = new Set(shown.scene.structure.species);
    this.drawTable();
    this.offerPhonons(answer.crystals.length === 1);
    if (!same) this.result.focus();
  }

  private offerPhonons(single: boolean): void {
    const potentials = (this.known?.potentials ?? []).filter((entry) => entry.installed);
    if (!single || potentials.length === 0) return this.offer.replaceChildren();
    let chosen = potentials.find((entry) => entry.default) ?? potentials[0]!;
    let relax = "positions";
    this.offer.replaceChildren(
      h("h2", {}, "Phonons"),
      h("div", { class: "tools" },
        choice("forces by", potentials.map((entry) => [entry.name, `${entry.name} (${entry.functional})`] as const), chosen.name, (value) => {
          chosen = potentials.find((entry) => entry.name === value) ?? chosen;
        }),
        choice("relax", [["positions", "positions"], ["cell", "positions and cell"], ["none", "nothing"]], relax, (value) => (relax = value)),
        button("Compute phonons", () => {
          if (this.input) void this.compute(this.input, { potential: chosen.name, relax });
        }),
        h("span", { class: "small" }, "takes a minute or more")),
    );
  }

  private async project(input: Input): Promise<void> {
    this.empty();
    document.documentElement.classList.add("has-result");
    await this.compute(input, {}, true);
  }

  private async compute(input: Input, words: Record<string, string>, alone = false): Promise<void> {
    this.trouble.replaceChildren();
    this.status.textContent = "Phonons are computed …";
    try {
      await this.phonons.run(input, words, (text) => (this.status.textContent = text), (found) => {
        this.status.textContent = `Phonons of ${found.phonons.structure.formula} are there.`;
        if (!alone || !found.crystal) return;
        // The unit cell of a project, with the tensors that were predicted for it.
        this.result.element.hidden = false;
        this.result.show(found.crystal, null, { labels: [] });
        this.present = new Set(found.crystal.structure.species);
        this.drawTable();
      });
    } catch (error) {
      this.status.textContent = "";
      this.refuse(error);
    }
  }
}

/** Two answers about the same structures with different properties as one. */
function joined(first: PredictAnswer, second: PredictAnswer): PredictAnswer {
  const others = new Map(second.crystals.map((entry) => [entry.scene.id, entry]));
  const crystals = first.crystals.map((entry): CrystalResult => {
    const other = others.get(entry.scene.id);
    if (!other) return entry;
    return {
      ...entry,
      scene: {
        ...entry.scene,
        properties: [...entry.scene.properties, ...other.scene.properties],
        notes: united(entry.scene.notes, other.scene.notes),
        sheets: [...entry.scene.sheets, ...other.scene.sheets],
      },
      derived: {
        optics: entry.derived.optics,
        moduli: other.derived.moduli,
        principal: [...entry.derived.principal, ...other.derived.principal],
        reasons: { ...other.derived.reasons, ...entry.derived.reasons },
      },
      table: `${entry.table}\n\n${other.table}`,
    };
  });
  return { ...first, crystals };
}

/** Each sentence once, about all properties that either list names for it. */
function united(first: readonly Note[], second: readonly Note[]): Note[] {
  const found = new Map<string, Note>();
  for (const note of [...first, ...second]) {
    const earlier = found.get(note.text);
    const properties = [...new Set([...(earlier?.properties ?? []), ...note.properties])];
    found.set(note.text, { ...note, properties });
  }
  return [...found.values()];
}

/** The lines that repeat a prediction of some properties, for all of them. */
function widened({ command, python }: Repeat, some: readonly string[], all: readonly string[]): Repeat {
  const quoted = (names: readonly string[]): string => names.map((name) => `'${name}'`).join(", ");
  return { command: command.replace(some.join(","), all.join(",")), python: python.replace(quoted(some), quoted(all)) };
}

function summary({ crystals, failures }: PredictAnswer): string {
  const names = crystals.map(({ scene }) => scene.structure.formula).join(", ");
  const failed = failures.length ? `; ${failures.length} without a result` : "";
  return `Predicted: ${names}${failed}.`;
}
