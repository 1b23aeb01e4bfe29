// Compares two pictures of one size in a window: wheel and pinch zoom at the pointer, dragging moves the photo, and the
// divider stands in the window. One canvas of the window's own device pixels is drawn, however large the photo is.

const MOST_SCALE = 16; // device pixels to a pixel of the photo
const DOUBLE_MS = 300, HOLD_MS = 180, STILL_PX = 6;
const PREVIEW_PX = 2048;

export class Viewer {
  // `root` holds a canvas and the divider's handle, [role=slider].
  constructor(root, { onChange }) {
    this.root = root;
    this.canvas = root.querySelector("canvas");
    this.handle = root.querySelector("[role=slider]");
    this.context = this.canvas.getContext("2d");
    this.onChange = onChange;
    this.split = 0.5;
    this.pointers = new Map();
    new ResizeObserver(() => this.#resize()).observe(root);
    this.#listen();
  }

  // Shows a photo from the start: only what it was, until `after` comes.
  async open(before) {
    this.before = await layers(before);
    this.after = undefined;
    this.fit();
  }

  async setAfter(after) {
    const made = await layers(after);
    this.after = made;
    this.#draw();
  }

  close() {
    this.before = this.after = undefined;
    this.#draw();
  }

  get fitScale() {
    const { width, height } = this.before?.whole ?? { width: 1, height: 1 };
    return Math.min(this.canvas.width / width, this.canvas.height / height, Math.max(1, devicePixelRatio));
  }

  get fits() { return Math.abs(this.scale / this.fitScale - 1) < 1e-3; }

  fit() {
    this.scale = this.fitScale;
    const { width, height } = this.before?.whole ?? { width: 0, height: 0 };
    this.x = (this.canvas.width - width * this.scale) / 2;
    this.y = (this.canvas.height - height * this.scale) / 2;
    this.#settle();
  }

  // Zooms to `scale` so that the photo stays where it is at (x, y), in device pixels of the window; its middle if not given.
  zoom(scale, x = this.canvas.width / 2, y = this.canvas.height / 2) {
    const wanted = Math.min(MOST_SCALE, Math.max(Math.min(this.fitScale, 1), scale));
    this.x = x - (x - this.x) * wanted / this.scale;
    this.y = y - (y - this.y) * wanted / this.scale;
    this.scale = wanted;
    this.#settle();
  }

  toggle(x, y) {
    if (this.fits) this.zoom(1, x, y); else this.fit();
  }

  setSplit(share) {
    this.split = Math.min(1, Math.max(0, share));
    this.#draw();
  }

  // Shows what it was, for as long as it is held.
  hold(held) {
    this.held = held;
    this.#draw();
  }

  #resize() {
    const fitted = !this.before || this.fits;
    // Exactly the device's pixels, or 100 % would not be sharp.
    this.canvas.width = Math.max(1, Math.round(this.root.clientWidth * devicePixelRatio));
    this.canvas.height = Math.max(1, Math.round(this.root.clientHeight * devicePixelRatio));
    if (fitted) this.fit(); else this.#settle();
  }

  // Keeps the photo over the middle of the window, so that it can't get lost; no more, or zooming would move what is pointed at.
  #settle() {
    if (!this.before) { this.#draw(); return; }
    const place = (at, photo, room) => Math.min(room / 2, Math.max(room / 2 - photo, at));
    this.x = place(this.x, this.before.whole.width * this.scale, this.canvas.width);
    this.y = place(this.y, this.before.whole.height * this.scale, this.canvas.height);
    this.#draw();
  }

  #draw() {
    this.root.classList.toggle("comparing", Boolean(this.after && !this.held));
    this.handle.style.setProperty("--split", `${100 * this.split}%`);
    this.onChange(this);
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = undefined;
      const { context, canvas } = this;
      context.clearRect(0, 0, canvas.width, canvas.height);
      if (!this.before) return;
      this.#paint(this.before);
      if (!this.after || this.held) return;
      const edge = Math.round(this.split * canvas.width);
      context.save();
      context.beginPath();
      context.rect(edge, 0, canvas.width - edge, canvas.height);
      context.clip();
      context.clearRect(0, 0, canvas.width, canvas.height);
      this.#paint(this.after);
      context.restore();
    });
  }

  #paint({ whole, preview }) {
    const { context, scale } = this, width = whole.width * scale, height = whole.height * scale;
    const picture = width <= preview.width ? preview : whole;
    context.imageSmoothingEnabled = scale < 1 || (scale < 3 && scale % 1 !== 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, Math.round(this.x), Math.round(this.y), width, height); // whole pixels, or 100 % would not be sharp
  }

  #listen() {
    const { root, canvas, handle } = this;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return { x: (event.clientX - box.left) * devicePixelRatio, y: (event.clientY - box.top) * devicePixelRatio };
    };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 16 : 1, { x, y } = at(event);
      this.zoom(this.scale * Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002)), x, y);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, at(event));
      this.pressed = { ...at(event), moved: this.pointers.size > 1 };
      clearTimeout(this.holding);
      if (this.pointers.size === 1) this.holding = setTimeout(() => { if (!this.pressed.moved) this.hold(true); }, HOLD_MS);
    });
    canvas.addEventListener("pointermove", (event) => { if (this.pointers.has(event.pointerId)) this.#move(event.pointerId, at(event)); });
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => this.#lift(event, at(event)));
    handle.addEventListener("pointerdown", (event) => { handle.setPointerCapture(event.pointerId); event.preventDefault(); handle.focus(); });
    handle.addEventListener("pointermove", (event) => { if (handle.hasPointerCapture(event.pointerId)) this.setSplit(at(event).x / canvas.width); });
    handle.addEventListener("keydown", (event) => this.#steer(event));
    root.addEventListener("keydown", (event) => {
      if (event.key === "+" || event.key === "=") this.zoom(this.scale * 1.25);
      else if (event.key === "-") this.zoom(this.scale / 1.25);
      else if (event.key === "0") this.fit();
      else if (event.key === "1") this.zoom(1);
    });
  }

  #move(id, now) {
    const others = [...this.pointers].filter(([other]) => other !== id).map(([, point]) => point), was = this.pointers.get(id);
    this.pointers.set(id, now);
    if (Math.hypot(now.x - this.pressed.x, now.y - this.pressed.y) > STILL_PX * devicePixelRatio) this.pressed.moved = true;
    if (!this.before) return;
    if (this.pressed.moved && this.held) this.hold(false); // dragging after all
    if (others.length) {
      const [other] = others, apart = (point) => Math.max(1, Math.hypot(point.x - other.x, point.y - other.y));
      this.x += (now.x - was.x) / 2;
      this.y += (now.y - was.y) / 2;
      this.zoom(this.scale * apart(now) / apart(was), (now.x + other.x) / 2, (now.y + other.y) / 2);
    } else if (this.pressed.moved) {
      this.x += now.x - was.x;
      this.y += now.y - was.y;
      this.#settle();
    }
  }

  #lift(event, { x, y }) {
    if (!this.pointers.delete(event.pointerId)) return;
    clearTimeout(this.holding);
    if (this.held) { this.hold(false); return; }
    if (this.pressed.moved || event.type === "pointercancel") return;
    const soon = event.timeStamp - (this.lifted ?? -1e9) < DOUBLE_MS;
    this.lifted = soon ? undefined : event.timeStamp;
    if (soon) this.toggle(x, y);
  }

  #steer(event) {
    const steps = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageUp: 0.1, PageDown: -0.1 };
    if (event.key in steps) this.setSplit(this.split + steps[event.key]);
    else if (event.key === "Home") this.setSplit(0);
    else if (event.key === "End") this.setSplit(1);
    else return;
    event.preventDefault();
  }
}

// A picture as it is, and small, for a window that it doesn't fill: far quicker to draw.
async function layers(data) {
  const whole = await createImageBitmap(data);
  const share = PREVIEW_PX / Math.max(whole.width, whole.height);
  if (share >= 1) return { whole, preview: whole };
  const options = { resizeWidth: Math.round(whole.width * share), resizeHeight: Math.round(whole.height * share), resizeQuality: "high" };
  return { whole, preview: await createImageBitmap(whole, options) };
}
