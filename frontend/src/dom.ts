/** Elements of the page, its colors, and files for the reader. */

import type { Vec } from "./math/vectors";

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | ((event: Event) => void)>;

/** An element with attributes (functions are listeners: `onclick`) and children; text is never read as HTML. */
export function h<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  fill(element, attributes, children);
  return element;
}

/** The same for SVG. */
export function svg<K extends keyof SVGElementTagNameMap>(
  name: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  fill(element, attributes, children);
  return element;
}

function fill(element: Element, attributes: Attributes, children: readonly Child[]): void {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else if (value !== false) element.setAttribute(key, value === true ? "" : String(value));
  }
  for (const child of children) if (child) element.append(child);
}

/** A labeled choice; `change` gets the value. */
export function choice(
  label: string,
  options: readonly (readonly [string, string])[],
  value: string,
  change: (value: string) => void,
): HTMLLabelElement {
  const select = h("select", { onchange: () => change(select.value) });
  for (const [key, text] of options) select.append(h("option", { value: key, selected: key === value }, text));
  return h("label", { class: "field" }, h("span", {}, label), select);
}

export function tick(label: string, checked: boolean, change: (on: boolean) => void): HTMLLabelElement {
  const input = h("input", { type: "checkbox", checked, onchange: () => change(input.checked) });
  return h("label", { class: "tick" }, input, label);
}

export function slider(
  label: string,
  range: readonly [number, number, number],
  value: number,
  show: (value: number) => string,
  change: (value: number) => void,
): HTMLLabelElement {
  const shown = h("output", {}, show(value));
  const input = h("input", {
    type: "range", min: range[0], max: range[1], step: range[2], value,
    oninput: () => {
      shown.textContent = show(Number(input.value));
      change(Number(input.value));
    },
  });
  return h("label", { class: "field slide" }, h("span", {}, label), input, shown);
}

export const button = (label: string, act: () => void, title = ""): HTMLButtonElement =>
  h("button", { type: "button", onclick: act, ...(title ? { title } : {}) }, label);

/** Give the reader a file. */
export function save(name: string, content: Blob | string, type = "text/plain"): void {
  const url = URL.createObjectURL(typeof content === "string" ? new Blob([content], { type }) : content);
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A name for a file from any identity. */
export const fileName = (id: string, rest: string): string =>
  `${id.replace(/[^A-Za-z0-9._-]+/g, "_").slice(0, 60) || "crystal"}${rest}`;

export interface Theme {
  page: Vec;
  ink: string;
  paper: string;
}

/** Colors of the page as it looks now. */
export function theme(): Theme {
  const style = getComputedStyle(document.documentElement);
  const paper = style.getPropertyValue("--paper").trim() || "#ffffff";
  const page = [1, 3, 5].map((k) => parseInt(paper.slice(k, k + 2), 16) / 255) as unknown as Vec;
  return { page, ink: style.getPropertyValue("--ink").trim() || "#000000", paper };
}
