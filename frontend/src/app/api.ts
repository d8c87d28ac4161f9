/** The HTTP API; every error becomes a `Refusal` with the sentence to show. */

import type { Elements, Example, Job, Models, PredictAnswer, Problem } from "../types";

export class Refusal extends Error {
  constructor(readonly problem: Problem) {
    super(problem.text);
  }
}

/** A structure or a project: a file, or text that was pasted. */
export interface Input {
  name: string;
  content: Blob | string;
}

async function ask(path: string, options: RequestInit = {}): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refusal(problem("unreachable", "voigt serve does not answer; is it still running in its terminal?"));
  }
  if (answer.ok) return answer;
  const body: unknown = await answer.json().catch(() => null);
  const told = body as Partial<Problem> | null;
  throw new Refusal(typeof told?.text === "string" ? { ...problem("", ""), ...told } : problem("crashed", `the server answered ${answer.status}`));
}

const problem = (kind: string, text: string): Problem => ({ kind, text, properties: [], elements: [] });

function body(input: Input): RequestInit {
  if (typeof input.content === "string") {
    // Pasted text without a name is recognized by what it holds.
    const named = input.name ? { name: input.name } : {};
    return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ ...named, text: input.content }) };
  }
  const form = new FormData();
  form.append("file", input.content, input.name || "structure");
  return { method: "POST", body: form };
}

const json = async <T>(answer: Promise<Response>): Promise<T> => (await answer).json() as Promise<T>;

export interface Options {
  properties: readonly string[];
  functional: string;
  allowUnseen: boolean;
}

function query({ properties, functional, allowUnseen }: Options, format = ""): string {
  const words = new URLSearchParams();
  if (properties.length) words.set("properties", properties.join(","));
  if (functional) words.set("functional", functional);
  if (allowUnseen) words.set("allow_unseen", "true");
  if (format) words.set("format", format);
  return words.toString();
}

export const predict = (input: Input, options: Options, signal: AbortSignal): Promise<PredictAnswer> =>
  json(ask(`api/predict?${query(options)}`, { ...body(input), signal }));

export const predictFile = async (input: Input, options: Options, format: string): Promise<Blob> =>
  (await ask(`api/predict?${query(options, format)}`, body(input))).blob();

export const models = (): Promise<Models> => json(ask("api/models"));
export const elements = (model: string): Promise<Elements> => json(ask(`api/elements?model=${encodeURIComponent(model)}`));
export const examples = async (): Promise<Example[]> => (await json<{ examples: Example[] }>(ask("api/examples"))).examples;

export function phonons(input: Input, words: Record<string, string>, signal: AbortSignal): Promise<Job> {
  const options = typeof input.content === "string"
    ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ structure: { ...(input.name ? { name: input.name } : {}), text: input.content } }) }
    : body(input);
  return json(ask(`api/phonons?${new URLSearchParams(words)}`, { ...options, signal }));
}

export const job = (id: string, signal: AbortSignal): Promise<Job> => json(ask(`api/jobs/${encodeURIComponent(id)}?wait=10`, { signal }));
export const cancel = (id: string): Promise<Job> => json(ask(`api/jobs/${encodeURIComponent(id)}`, { method: "DELETE" }));
export const jobFile = (id: string, name: string): string => `api/jobs/${encodeURIComponent(id)}/${name}`;
