/** Orthographic; light from the upper left, darker edges that part bodies of one color, haze in the depth. */

export const VERTEX = `#version 300 es
precision highp float;
layout(location=0) in vec3 position;
layout(location=1) in vec3 normal;
layout(location=2) in vec3 color;
layout(location=3) in vec3 m0;
layout(location=4) in vec3 m1;
layout(location=5) in vec3 m2;
layout(location=6) in vec3 place;
layout(location=7) in vec3 tint;
uniform mat3 rotation;
uniform vec3 center;
uniform vec2 scale;
uniform vec2 pan;
uniform float depth;
out vec3 n;
out vec3 paint;
out float away;
void main() {
  vec3 seen = rotation * (m0 * position.x + m1 * position.y + m2 * position.z + place - center);
  // Columns are orthogonal: the inverse transpose divides each by its square.
  n = rotation * (m0 * normal.x / dot(m0, m0) + m1 * normal.y / dot(m1, m1) + m2 * normal.z / dot(m2, m2));
  paint = color * tint;
  away = -seen.z / depth;
  gl_Position = vec4(seen.xy * scale + pan, away, 1.0);
}`;

export const FRAGMENT = `#version 300 es
precision highp float;
in vec3 n;
in vec3 paint;
in float away;
uniform vec3 background;
uniform float haze;
out vec4 result;
void main() {
  vec3 up = normalize(n);
  vec3 light = normalize(vec3(-0.45, 0.6, 0.8));
  float diffuse = max(dot(up, light), 0.0);
  float facing = max(up.z, 0.0);
  float shade = 0.46 + 0.42 * diffuse + 0.16 * facing;
  shade *= mix(0.62, 1.0, smoothstep(0.0, 0.5, facing));
  float shine = pow(max(dot(up, normalize(light + vec3(0.0, 0.0, 1.0))), 0.0), 40.0);
  vec3 lit = paint * shade + vec3(0.16) * shine;
  result = vec4(mix(lit, background, haze * smoothstep(-0.6, 1.0, away)), 1.0);
}`;
