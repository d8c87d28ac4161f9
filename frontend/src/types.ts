/** The answers of the HTTP API (src/voigt/app/schema.py) and scenes (src/voigt/prediction/scene.py), as far as used. */

export type Triple = [number, number, number];
export type Grid = number[][];

export interface Structure {
  formula: string;
  cell: Grid;
  species: string[];
  positions: Grid;
  scaled_positions: Grid;
  spacegroup: { number: number; international: string; point_group: string; crystal_system: string };
  orbits: number[];
  wyckoffs: string[];
  site_symmetries: string[];
}

export interface Pattern {
  atom: number | null;
  zero: boolean[][];
  independent: boolean[][];
}

export interface Property {
  name: string;
  label: string;
  meaning: string;
  unit: string;
  per: "atom" | "crystal";
  rank: number;
  rows: string[];
  columns: string[];
  values: number | Grid | Grid[];
  interval: number | number[] | null;
  spread: number | number[] | null;
  patterns: Pattern[];
  residual: number | null;
  model: string;
  functional: string | null;
}

export interface Note {
  kind: string;
  text: string;
  properties: string[];
  elements: string[];
  warning: boolean;
}

export interface Sheet {
  property: string;
  permittivity: Grid;
  polarizability_angstrom: Grid;
  normal: number[];
  thickness_angstrom: number;
  height_angstrom: number;
}

export interface Scene {
  id: string;
  structure: Structure;
  properties: Property[];
  notes: Note[];
  sheets: Sheet[];
  drift: number | null;
  symmetrized: boolean;
}

export interface Optics {
  kind: "isotropic" | "uniaxial" | "biaxial";
  indices: number[];
  birefringence: number;
  sign: number;
  optic_axes: Grid;
  axial_angle: number | null;
}

export interface Moduli {
  bulk_voigt: number;
  bulk_reuss: number;
  bulk_hill: number;
  shear_voigt: number;
  shear_reuss: number;
  shear_hill: number;
  young: number;
  poisson: number;
  pugh: number;
  universal_anisotropy: number;
  young_range: number[];
}

export interface Derived {
  optics: Optics | null;
  moduli: Moduli | null;
  principal: { property: string; values: number[]; axes: Grid }[];
  reasons: Record<string, string>;
}

export interface Repeat {
  command: string;
  python: string;
}

export interface CrystalResult {
  scene: Scene;
  derived: Derived;
  table: string;
  born: boolean;
  /** Multiplicity and Wyckoff letter of every atom. */
  sites: string[];
}

export interface Problem {
  kind: string;
  text: string;
  properties: string[];
  elements: string[];
}

export interface PredictAnswer {
  crystals: CrystalResult[];
  failures: Problem[];
  repeat: Repeat;
}

export interface Example {
  name: string;
  title: string;
  source: string;
  text: string;
}

export interface ElementCell {
  z: number;
  symbol: string;
  name: string;
  column: number;
  row: number;
  known: boolean;
  count: number | null;
}

export interface Elements {
  model: string;
  rare: number;
  elements: ElementCell[];
}

export interface Models {
  version: string;
  models: { name: string; default: boolean; properties: string[]; functionals: string[] }[];
  properties: { name: string; label: string; unit: string; models: string[] }[];
  potentials: { name: string; functional: string; installed: boolean; default: boolean; install: string }[];
  limits: { body_bytes: number; atoms: number };
}

export interface GammaMode {
  frequency: number;
  wavenumber: number;
  irrep: string | null;
  acoustic: boolean;
  displacements: Grid;
}

export interface BandSegment {
  start: string;
  end: string;
  distances: number[];
  frequencies: Grid;
  nac: Grid | null;
}

export interface InfraredMode {
  modes: number[];
  kind: "acoustic" | "optical" | "imaginary";
  irrep: string | null;
  active: boolean;
  frequency: number;
  wavenumber: number;
  intensity: number;
  share: Grid;
}

export interface Longitudinal {
  direction: number[];
  names: string[];
  transverse: number[];
  longitudinal: number[];
  product: number | null;
  ratio: number | null;
  axis: boolean;
  reason: string | null;
}

export interface Along {
  direction: number[];
  names: string[];
  frequencies: number[];
  splitting: number[];
}

export interface Infrared {
  eps_inf: Grid;
  eps_ionic: Grid;
  eps_0: Grid;
  modes: InfraredMode[];
  directions: Longitudinal[];
  spectrum: { linewidth: number[]; frequencies: number[] };
}

export interface Phonons {
  heading: string[];
  structure: Structure;
  nac: string;
  refused: boolean;
  modes: GammaMode[];
  along: Along[];
  bands: BandSegment[];
  infrared: Infrared | null;
  notes: Note[];
  table: string;
}

export interface PhononsResult {
  phonons: Phonons;
  crystal: Scene | null;
  repeat: Repeat;
}

export interface Job {
  id: string;
  kind: "phonons" | "respond";
  state: "queued" | "running" | "done" | "failed" | "cancelled";
  position: number;
  progress: { done: number; total: number | null; what: string };
  seconds: number;
  error: Problem | null;
  result: PhononsResult | null;
  files: { name: string; bytes: number; media_type: string }[];
}
