/** The orb: a soft blob that swells with whoever speaks. Nothing but drawing. */

const LAYERS = [
  { reach: 1.0, lag: 0.06, alpha: 0.16, turn: 0.21 },
  { reach: 0.72, lag: 0.12, alpha: 0.26, turn: -0.33 },
  { reach: 0.45, lag: 0.25, alpha: 1.0, turn: 0.47 },
];
const POINTS = 72;

export class Orb {
  /** @param {HTMLCanvasElement} canvas @param {() => number} loudness of who speaks, 0..1 */
  constructor(canvas, loudness) {
    this.canvas = canvas;
    this.loudness = loudness;
    this.swell = LAYERS.map(() => 0);
    this.colour = [120, 130, 140];
    this.isCalm = matchMedia("(prefers-reduced-motion: reduce)");
    this.draw = this.draw.bind(this);
    requestAnimationFrame(this.draw);
  }

  draw(time_ms) {
    const { canvas } = this;
    const paper = canvas.getContext("2d");
    const size = canvas.width;
    const level = this.loudness();
    this.#drift(getComputedStyle(canvas).color);
    paper.clearRect(0, 0, size, size);
    const breath = this.isCalm.matches ? 0 : 0.012 * Math.sin(time_ms / 1100);
    LAYERS.forEach((layer, index) => {
      this.swell[index] += (level - this.swell[index]) * layer.lag;
      const radius = size * (0.25 + breath + 0.2 * layer.reach * this.swell[index]);
      const wobble = this.isCalm.matches ? 0 : 0.01 + 0.09 * this.swell[index] * layer.reach;
      paper.fillStyle = this.#fill(paper, size, radius, layer);
      this.#blob(paper, size / 2, radius, wobble, (time_ms / 1000) * layer.turn * 4);
    });
    requestAnimationFrame(this.draw);
  }

  #drift(css) {
    const target = css.match(/[\d.]+/g).slice(0, 3).map(Number);
    this.colour = this.colour.map((value, i) => value + (target[i] - value) * 0.08);
  }

  #fill(paper, size, radius, layer) {
    const [r, g, b] = this.colour.map(Math.round);
    if (layer.alpha < 1) return `rgb(${r} ${g} ${b} / ${layer.alpha})`;
    const light = paper.createRadialGradient(
      size * 0.44, size * 0.4, radius * 0.1, size / 2, size / 2, radius,
    );
    const lighter = [r, g, b].map((value) => Math.round(value + (255 - value) * 0.45));
    light.addColorStop(0, `rgb(${lighter.join(" ")})`);
    light.addColorStop(1, `rgb(${r} ${g} ${b})`);
    return light;
  }

  #blob(paper, centre, radius, wobble, phase) {
    paper.beginPath();
    for (let point = 0; point < POINTS; point += 1) {
      const angle = (point / POINTS) * 2 * Math.PI;
      const wave = Math.sin(3 * angle + phase) + 0.6 * Math.sin(5 * angle - 1.3 * phase);
      const reach = radius * (1 + wobble * wave);
      paper.lineTo(centre + reach * Math.cos(angle), centre + reach * Math.sin(angle));
    }
    paper.closePath();
    paper.fill();
  }
}
