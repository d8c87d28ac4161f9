/** Draws batches of meshes with one WebGL2 context, which all views of a page share. */

import type { Mesh } from "../math/meshes";
import { type Matrix, perpendicular, cross, subtract, norm, scale, type Vec } from "../math/vectors";
import { FRAGMENT, VERTEX } from "./shaders";

/** One mesh many times: 15 numbers a copy, the three columns of its matrix, its place, its color. */
export interface Batch {
  mesh: Mesh;
  instances: Float32Array;
}

export interface Shot {
  rotation: Matrix;
  center: Vec;
  /** Pixels of the canvas per Angstrom, and a shift of the picture in pixels. */
  zoom: number;
  pan: readonly [number, number];
  /** Half of the depth that is drawn, Angstrom. */
  depth: number;
  background: Vec;
  /** Share of the background that the farthest point takes on. */
  haze: number;
}

const FLOATS = 15;

export class Renderer {
  readonly canvas = document.createElement("canvas");
  private gl: WebGL2RenderingContext;
  private program: WebGLProgram;
  private arrays = new WeakMap<Batch, WebGLVertexArrayObject>();
  private meshes = new WeakMap<Mesh, WebGLBuffer[]>();
  private uniforms = new Map<string, WebGLUniformLocation | null>();

  constructor() {
    const gl = this.canvas.getContext("webgl2", { antialias: true, alpha: false, preserveDrawingBuffer: true });
    if (!gl) throw new Error("no WebGL2");
    this.gl = gl;
    this.program = this.start();
    this.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    this.canvas.addEventListener("webglcontextrestored", () => {
      this.arrays = new WeakMap();
      this.meshes = new WeakMap();
      this.uniforms.clear();
      this.program = this.start();
    });
  }

  /** Draw into `canvas`, of this size in pixels. */
  draw(batches: readonly Batch[], shot: Shot, width: number, height: number): void {
    const { gl } = this;
    // The picture is in the lower left corner of a canvas that only grows: a new size is slow.
    if (this.canvas.width < width || this.canvas.height < height) {
      this.canvas.width = Math.max(width, this.canvas.width);
      this.canvas.height = Math.max(height, this.canvas.height);
    }
    gl.viewport(0, 0, width, height);
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(0, 0, width, height);
    gl.clearColor(...shot.background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(this.program);
    const [r0, r1, r2] = shot.rotation;
    gl.uniformMatrix3fv(this.uniform("rotation"), false, [r0[0], r1[0], r2[0], r0[1], r1[1], r2[1], r0[2], r1[2], r2[2]]);
    gl.uniform3fv(this.uniform("center"), shot.center);
    gl.uniform2f(this.uniform("scale"), (2 * shot.zoom) / width, (2 * shot.zoom) / height);
    gl.uniform2f(this.uniform("pan"), (2 * shot.pan[0]) / width, (-2 * shot.pan[1]) / height);
    gl.uniform1f(this.uniform("depth"), shot.depth);
    gl.uniform3fv(this.uniform("background"), shot.background);
    gl.uniform1f(this.uniform("haze"), shot.haze);
    for (const batch of batches) {
      if (batch.instances.length === 0) continue;
      gl.bindVertexArray(this.arrayOf(batch));
      const count = batch.instances.length / FLOATS;
      gl.drawElementsInstanced(gl.TRIANGLES, batch.mesh.triangles.length, gl.UNSIGNED_INT, 0, count);
    }
    gl.bindVertexArray(null);
  }

  private start(): WebGLProgram {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
      const shader = gl.createShader(kind)!;
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(gl.getProgramInfoLog(program) ?? "shaders do not link");
    }
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.CULL_FACE);
    return program;
  }

  private uniform(name: string): WebGLUniformLocation | null {
    let found = this.uniforms.get(name);
    if (found === undefined) {
      found = this.gl.getUniformLocation(this.program, name);
      this.uniforms.set(name, found);
    }
    return found;
  }

  private buffersOf(mesh: Mesh): WebGLBuffer[] {
    const known = this.meshes.get(mesh);
    if (known) return known;
    const { gl } = this;
    gl.bindVertexArray(null);
    const made = [mesh.positions, mesh.normals, mesh.colors].map((data) => {
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
      return buffer;
    });
    const indices = gl.createBuffer();
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, indices);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.triangles, gl.STATIC_DRAW);
    made.push(indices);
    this.meshes.set(mesh, made);
    return made;
  }

  private arrayOf(batch: Batch): WebGLVertexArrayObject {
    const known = this.arrays.get(batch);
    if (known) return known;
    const { gl } = this;
    const [positions, normals, colors, indices] = this.buffersOf(batch.mesh);
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    [positions!, normals!, colors!].forEach((buffer, place) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, 3, gl.FLOAT, false, 0, 0);
    });
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, batch.instances, gl.STATIC_DRAW);
    for (let k = 0; k < 5; k++) {
      gl.enableVertexAttribArray(3 + k);
      gl.vertexAttribPointer(3 + k, 3, gl.FLOAT, false, 4 * FLOATS, 12 * k);
      gl.vertexAttribDivisor(3 + k, 1);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, indices!);
    gl.bindVertexArray(null);
    this.arrays.set(batch, array);
    return array;
  }
}

/** A copy that is as large in all directions. */
export const ball = (place: Vec, radius: number, color: Vec): number[] => [
  radius, 0, 0, 0, radius, 0, 0, 0, radius, ...place, ...color,
];

/** A copy of a cylinder or cone from one point to another. */
export function rod(from: Vec, to: Vec, radius: number, color: Vec): number[] {
  const along = subtract(to, from);
  const length = norm(along);
  const axis = scale(along, 1 / (length || 1));
  const side = perpendicular(axis);
  return [...scale(side, radius), ...scale(cross(axis, side), radius), ...along, ...from, ...color];
}

let shared: Renderer | null | undefined;

/** The renderer of the page; null where the browser has no WebGL2. */
export function renderer(): Renderer | null {
  if (shared === undefined) {
    try {
      shared = new Renderer();
    } catch {
      shared = null;
    }
  }
  return shared;
}
