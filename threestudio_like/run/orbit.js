// A GLB of export/mesh.py on a canvas, without any library: drag to orbit, wheel or pinch to zoom.
// What it reads: triangles with POSITION, NORMAL, TEXCOORD_0 and, with a normal map, TANGENT; pictures inside
// the file. Y is up and the front looks along +z, as the files have it. Colours are shown as they are, unlit.
"use strict";
const VERTEX = `#version 300 es
in vec3 position; in vec3 normal; in vec2 uv; in vec4 tangent;
uniform mat4 project; uniform mat4 view;
out vec3 n; out vec2 at; out vec4 t;
void main() { n = normal; at = uv; t = tangent; gl_Position = project * view * vec4(position, 1.0); }`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec3 n; in vec2 at; in vec4 t;
uniform sampler2D colours; uniform sampler2D bumps; uniform bool bumpy; uniform int mode; uniform vec3 lamp;
out vec4 shown;
void main() {
  vec3 m = normalize(n);
  if (bumpy) {
    vec3 b = texture(bumps, at).xyz * 2.0 - 1.0;
    m = normalize(b.x * t.xyz + b.y * t.w * cross(n, t.xyz) + b.z * n);
  }
  vec3 clay = vec3(0.25 + 0.65 * max(dot(m, lamp), 0.0));
  shown = vec4(mode == 0 ? texture(colours, at).rgb : mode == 1 ? m * 0.5 + 0.5 : clay, 1.0);
}`;
const MODES = ["colours", "normals", "clay"];
const ANGLE = 40 * Math.PI / 180;  // the field of view
const START = {azimuth: 0, elevation: 15 * Math.PI / 180, zoom: 1};

function parsed(bytes) {  // a GLB: its JSON, and a function that gives the numbers of an accessor
  const words = new DataView(bytes), length = words.getUint32(12, true);
  if (words.getUint32(0, true) !== 0x46546c67) throw new Error("not a GLB");
  const tree = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 20, length)));
  const begin = index => 28 + length + (tree.bufferViews[index].byteOffset || 0);
  const piece = index => new Uint8Array(bytes, begin(index), tree.bufferViews[index].byteLength);
  const numbers = index => {
    const of = tree.accessors[index], size = {SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4}[of.type];
    const kind = {5121: Uint8Array, 5123: Uint16Array, 5125: Uint32Array, 5126: Float32Array}[of.componentType];
    const at = begin(of.bufferView) + (of.byteOffset || 0);
    return new kind(bytes.slice(at, at + of.count * size * kind.BYTES_PER_ELEMENT));
  };
  const picture = slot => {
    if (!slot) return null;
    const image = tree.images[tree.textures[slot.index].source];
    const options = {colorSpaceConversion: "none", premultiplyAlpha: "none"};
    return createImageBitmap(new Blob([piece(image.bufferView)], {type: image.mimeType}), options);
  };
  return {tree, numbers, picture};
}

function program(gl) {
  const made = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  gl.useProgram(made);
  return made;
}

async function texture(gl, unit, picture) {
  const image = await picture;
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  const grey = new Uint8Array([190, 190, 190, 255]);
  if (image) gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
  else gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, grey);
  gl.generateMipmap(gl.TEXTURE_2D);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
}

async function loaded(gl, shader, bytes) {  // the model on the graphics card; its middle and its radius
  const {tree, numbers, picture} = parsed(bytes), primitive = tree.meshes[0].primitives[0];
  const names = {position: "POSITION", normal: "NORMAL", uv: "TEXCOORD_0", tangent: "TANGENT"};
  const {min, max} = tree.accessors[primitive.attributes.POSITION];
  const middle = min.map((low, i) => (low + max[i]) / 2), places = numbers(primitive.attributes.POSITION);
  let radius = 0;
  for (let i = 0; i < places.length; i += 3)
    radius = Math.max(radius, Math.hypot(...middle.map((mean, axis) => places[i + axis] - mean)));
  for (const [name, key] of Object.entries(names)) {
    const index = primitive.attributes[key], slot = gl.getAttribLocation(shader, name);
    if (index === undefined || slot < 0) continue;
    const values = numbers(index);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(slot);
    gl.vertexAttribPointer(slot, values.length / tree.accessors[index].count, gl.FLOAT, false, 0, 0);
  }
  const faces = new Uint32Array(numbers(primitive.indices));
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, faces, gl.STATIC_DRAW);
  const material = (tree.materials || [])[primitive.material] || {}, base = material.pbrMetallicRoughness || {};
  await texture(gl, 0, picture(base.baseColorTexture));
  await texture(gl, 1, picture(material.normalTexture));
  gl.uniform1i(gl.getUniformLocation(shader, "bumps"), 1);
  gl.uniform1i(gl.getUniformLocation(shader, "bumpy"), material.normalTexture ? 1 : 0);
  return {count: faces.length, middle, radius: radius || 1};
}

function seenFrom(camera, model, aspect) {  // the two matrices, column by column, and where the lamp is
  const [sa, ca, se, ce] = [camera.azimuth, camera.elevation].flatMap(a => [Math.sin(a), Math.cos(a)]);
  const away = [sa * ce, se, ca * ce], right = [ca, 0, -sa], up = [-sa * se, ce, -ca * se];
  const distance = camera.zoom * model.radius / Math.sin(ANGLE / 2) / Math.min(1, aspect);
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const axes = [right, up, away], moved = axes.map(axis => -dot(axis, model.middle));
  const view = [0, 1, 2].flatMap(i => [...axes.map(axis => axis[i]), 0]);
  view.push(moved[0], moved[1], moved[2] - distance, 1);
  const near = Math.max(distance - model.radius, distance / 1000), far = distance + model.radius;
  const f = 1 / Math.tan(ANGLE / 2), depth = (far + near) / (near - far), shift = 2 * far * near / (near - far);
  const project = [f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, depth, -1, 0, 0, shift, 0];
  const lamp = [away[0], away[1] + 1, away[2]], size = Math.hypot(...lamp) || 1;
  return {view, project, lamp: lamp.map(x => x / size)};
}

async function orbit(canvas, button, base64) {
  const gl = canvas.getContext("webgl2", {antialias: true, alpha: true});
  if (!gl) throw new Error("this browser has no WebGL 2");
  const shader = program(gl), at = name => gl.getUniformLocation(shader, name);
  const model = await loaded(gl, shader, Uint8Array.from(atob(base64), c => c.charCodeAt(0)).buffer);
  const camera = {...START}, held = new Map();
  let mode = 0, apart = 0, waiting = false;
  gl.enable(gl.DEPTH_TEST);
  const draw = () => {
    waiting = false;
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map(side => Math.round(side * scale));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const seen = seenFrom(camera, model, width / height);
    gl.viewport(0, 0, width, height);
    gl.clearColor(1, 1, 1, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix4fv(at("project"), false, seen.project);
    gl.uniformMatrix4fv(at("view"), false, seen.view);
    gl.uniform3fv(at("lamp"), seen.lamp);
    gl.uniform1i(at("mode"), mode);
    gl.drawElements(gl.TRIANGLES, model.count, gl.UNSIGNED_INT, 0);
  };
  const change = (turn, lift, factor) => {
    camera.azimuth += turn;
    camera.elevation = Math.max(-1.55, Math.min(1.55, camera.elevation + lift));
    camera.zoom = Math.max(0.1, Math.min(8, camera.zoom * factor));
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(draw);
  };
  canvas.addEventListener("pointerdown", event => { held.set(event.pointerId, [event.clientX, event.clientY]); });
  window.addEventListener("pointermove", event => {
    const before = held.get(event.pointerId);
    if (!before) return;
    held.set(event.pointerId, [event.clientX, event.clientY]);
    const [one, other] = held.values(), turn = Math.PI / canvas.clientWidth;  // its width is half a turn
    if (other) {
      const now = Math.hypot(one[0] - other[0], one[1] - other[1]);
      if (apart) change(0, 0, apart / now);
      apart = now;
    } else change((before[0] - event.clientX) * turn, (event.clientY - before[1]) * turn, 1);
  });
  for (const name of ["pointerup", "pointercancel"])
    window.addEventListener(name, event => { held.delete(event.pointerId); apart = 0; });
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    change(0, 0, Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 400));
  }, {passive: false});
  canvas.addEventListener("dblclick", () => { Object.assign(camera, START); change(0, 0, 1); });
  const keys = {ArrowLeft: [-.1, 0, 1], ArrowRight: [.1, 0, 1], ArrowUp: [0, .1, 1], ArrowDown: [0, -.1, 1],
                "+": [0, 0, .9], "-": [0, 0, 1 / .9]};
  canvas.addEventListener("keydown", event => {
    if (!keys[event.key]) return;
    event.preventDefault();
    change(...keys[event.key]);
  });
  button.addEventListener("click", () => {
    mode = (mode + 1) % MODES.length;
    button.textContent = MODES[mode];
    change(0, 0, 1);
  });
  window.addEventListener("resize", () => change(0, 0, 1));
  draw();
  canvas.dataset.state = "drawn";
}

for (const figure of document.querySelectorAll("figure.orbit")) {
  const [canvas, button, note, data] = ["canvas", "button", "small", "script"].map(s => figure.querySelector(s));
  orbit(canvas, button, data.textContent.trim()).catch(error => { note.textContent = error.message; });
}
