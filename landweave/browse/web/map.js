// A map of points: longitude and latitude, the first squeezed by the cosine of the middle's latitude. A million points
// are painted into one image, some milliseconds per frame: no element per point.

const PALETTE = ['#1b78b5', '#e07b1f', '#2f9e5b', '#c23b4b', '#8461b3', '#8a5a4c', '#d56fb0', '#7d8288', '#a8a52b', '#22a7b8']
const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]] // viridis
const MOST_NAMES = 10
const CROWD = 3e5 // points in the picture from which each is one pixel

const hex = ([r, g, b]) => '#' + [r, g, b].map((v) => Math.round(v).toString(16).padStart(2, '0')).join('')
const packed = (colour) => {
  const value = parseInt(colour.slice(1), 16)
  return 0xff000000 | ((value & 255) << 16) | (value & 0xff00) | (value >> 16) // ABGR of a little-endian machine
}

// A colour per value, packed, and the key of the map as [colour, words].
export function scaled(values, type) {
  const colours = new Uint32Array(values.length)
  const none = packed('#9aa3a0')
  if (type === 'number') {
    let low = Infinity, high = -Infinity
    for (const v of values) if (Number.isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v) }
    const shades = Array.from({ length: 256 }, (_, i) => {
      const at = (i / 255) * (RAMP.length - 1)
      const k = Math.min(RAMP.length - 2, Math.floor(at))
      return hex(RAMP[k].map((v, c) => v + (RAMP[k + 1][c] - v) * (at - k)))
    })
    const table = shades.map(packed)
    const span = high - low || 1
    for (let i = 0; i < values.length; i++) colours[i] = Number.isFinite(values[i]) ? table[Math.round((255 * (values[i] - low)) / span)] : none
    return { colours, key: low > high ? [] : [[shades[0], Number(low.toPrecision(4)).toString()], [shades[255], Number(high.toPrecision(4)).toString()]] }
  }
  const counts = new Map()
  for (const v of values) if (v !== null) counts.set(v, (counts.get(v) ?? 0) + 1)
  const names = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || (a < b ? -1 : 1)).slice(0, MOST_NAMES)
  const table = new Map(names.map((name, i) => [name, packed(PALETTE[i])]))
  for (let i = 0; i < values.length; i++) colours[i] = table.get(values[i]) ?? none
  return { colours, key: names.map((name, i) => [PALETTE[i], `${name} (${counts.get(name).toLocaleString('en')})`]) }
}

export class PointMap {
  constructor(canvas, rings, lon, lat, { click, moved }) {
    Object.assign(this, { canvas, rings, lon, lat, click, moved, points: new Uint32Array(), colours: new Uint32Array(), west: -180, north: 90, degree: 2, squeeze: 1 })
    new ResizeObserver(() => this.paint()).observe(canvas)
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.paint())
    canvas.addEventListener('wheel', (event) => { event.preventDefault(); this.zoom(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY) }, { passive: false })
    let held = null
    canvas.addEventListener('pointerdown', (event) => { held = { x: event.offsetX, y: event.offsetY, far: 0 }; canvas.setPointerCapture(event.pointerId) })
    canvas.addEventListener('pointermove', (event) => {
      if (!held) return
      this.move(held.x - event.offsetX, held.y - event.offsetY)
      held = { x: event.offsetX, y: event.offsetY, far: held.far + Math.abs(held.x - event.offsetX) + Math.abs(held.y - event.offsetY) }
    })
    canvas.addEventListener('pointerup', (event) => {
      if (held && held.far < 5) this.pick(event.offsetX, event.offsetY)
      held = null
    })
    canvas.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: [-40, 0], ArrowRight: [40, 0], ArrowUp: [0, -40], ArrowDown: [0, 40] }[event.key]
      if (step) this.move(...step)
      else if (event.key === '+' || event.key === '=') this.zoom(1.5)
      else if (event.key === '-') this.zoom(1 / 1.5)
      else return
      event.preventDefault()
    })
  }

  show(points, colours) {
    Object.assign(this, { points, colours })
    this.paint()
  }

  fit(points) {
    let [w, s, e, n] = [180, 90, -180, -90]
    for (const i of points) { w = Math.min(w, this.lon[i]); e = Math.max(e, this.lon[i]); s = Math.min(s, this.lat[i]); n = Math.max(n, this.lat[i]) }
    if (w > e) [w, s, e, n] = [-180, -60, 180, 75]
    const pad = Math.max(0.02, 0.08 * Math.max(e - w, n - s))
    const { clientWidth: width, clientHeight: height } = this.canvas
    const squeeze = Math.max(0.2, Math.cos((((s + n) / 2) * Math.PI) / 180))
    this.degree = Math.min(width / (e - w + 2 * pad) / squeeze, height / (n - s + 2 * pad))
    this.squeeze = squeeze
    this.west = (w + e) / 2 - width / 2 / (this.degree * squeeze)
    this.north = (s + n) / 2 + height / 2 / this.degree
    this.paint()
  }

  x(lon) { return (lon - this.west) * this.degree * this.squeeze }
  y(lat) { return (this.north - lat) * this.degree }

  move(right, down) {
    this.west += right / this.degree / this.squeeze
    this.north -= down / this.degree
    this.paint()
    this.moved()
  }

  zoom(by, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const next = Math.min(2e5, Math.max(0.5, this.degree * by)), squeeze = this.squeeze
    this.west += x / squeeze * (1 / this.degree - 1 / next)
    this.north -= y * (1 / this.degree - 1 / next)
    this.degree = next
    this.paint()
    this.moved()
  }

  place() { return [this.west, this.north, this.degree, this.squeeze].map((v) => Number(v.toPrecision(8))).join(',') }

  go(text) {
    const found = text.split(',').map(Number)
    if (found.length !== 4 || !found.every(Number.isFinite) || found[2] <= 0 || found[3] <= 0) return false
    ;[this.west, this.north, this.degree, this.squeeze] = found
    this.paint()
    return true
  }

  pick(x, y) {
    let best = -1, nearest = 15 ** 2
    for (const i of this.points) {
      const far = (this.x(this.lon[i]) - x) ** 2 + (this.y(this.lat[i]) - y) ** 2
      if (far < nearest) { nearest = far; best = i }
    }
    if (best >= 0) this.click(best)
  }

  paint() {
    if (this.waiting) return
    this.waiting = true
    requestAnimationFrame(() => { this.waiting = false; this.draw() })
  }

  // Meridians and parallels at a step of 1, 2 or 5 times a power of ten degrees, with their values.
  graticule(paper, ink) {
    const { clientWidth: width, clientHeight: height } = this.canvas
    const rough = 110 / this.degree, power = 10 ** Math.floor(Math.log10(rough))
    const step = Math.min(30, power * ([1, 2, 5].find((k) => k * power >= rough) ?? 10))
    const words = (value, signs) => `${Number(Math.abs(value).toFixed(6))}°${value < 0 ? signs[1] : value > 0 ? signs[0] : ''}`
    paper.strokeStyle = paper.fillStyle = ink
    paper.lineWidth = 0.4
    paper.font = '11px system-ui, sans-serif'
    paper.beginPath()
    for (let lon = Math.ceil(this.west / step) * step; this.x(lon) < width; lon += step) {
      paper.moveTo(this.x(lon), 0)
      paper.lineTo(this.x(lon), height)
      paper.fillText(words(((lon + 540) % 360) - 180, 'EW'), this.x(lon) + 3, height - 4)
    }
    for (let lat = Math.floor(this.north / step) * step; this.y(lat) < height; lat -= step) {
      paper.moveTo(0, this.y(lat))
      paper.lineTo(width, this.y(lat))
      if (Math.abs(lat) <= 90) paper.fillText(words(lat, 'NS'), 3, this.y(lat) - 3)
    }
    paper.stroke()
  }

  draw() {
    const { canvas } = this, sharp = window.devicePixelRatio || 1
    const width = Math.max(1, Math.round(canvas.clientWidth * sharp)), height = Math.max(1, Math.round(canvas.clientHeight * sharp))
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height }
    const paper = canvas.getContext('2d', { willReadFrequently: true })
    const style = getComputedStyle(document.documentElement)
    paper.setTransform(1, 0, 0, 1, 0, 0)
    paper.fillStyle = style.getPropertyValue('--sea')
    paper.fillRect(0, 0, width, height)
    paper.setTransform(sharp, 0, 0, sharp, 0, 0)
    paper.fillStyle = style.getPropertyValue('--land')
    paper.beginPath()
    for (const ring of this.rings) {
      for (let i = 0; i < ring.length; i += 2) paper[i ? 'lineTo' : 'moveTo'](this.x(ring[i]), this.y(ring[i + 1]))
      paper.closePath()
    }
    paper.fill('evenodd')
    this.graticule(paper, style.getPropertyValue('--soft'))
    const image = paper.getImageData(0, 0, width, height)
    const cells = new Uint32Array(image.data.buffer)
    const seen = this.inside(width, height, sharp)
    if (seen > CROWD) this.dots(cells, seen)
    else this.squares(cells, seen, width, height, Math.round((seen > 5e3 ? 1.2 : 2.2) * sharp))
    paper.putImageData(image, 0, 0)
  }

  // Finds the points inside the picture: fills `cell` with their pixel and `ink` with their colour, returns their number.
  inside(width, height, sharp) {
    const { points, colours, lon, lat } = this
    if (!this.cell || this.cell.length < points.length) { this.cell = new Uint32Array(points.length); this.ink = new Uint32Array(points.length) }
    const { cell, ink } = this, across = this.degree * this.squeeze * sharp, down = this.degree * sharp
    const left = 0.5 - this.west * across, top = 0.5 + this.north * down
    let seen = 0
    for (let k = 0; k < points.length; k++) {
      const i = points[k], x = lon[i] * across + left, y = top - lat[i] * down
      if (x >= 0 && x < width && y >= 0 && y < height) {
        cell[seen] = (y | 0) * width + (x | 0)
        ink[seen++] = colours[i]
      }
    }
    return seen
  }

  dots(cells, seen) {
    const { cell, ink } = this
    for (let k = 0; k < seen; k++) cells[cell[k]] = ink[k]
  }

  squares(cells, seen, width, height, half) {
    for (let k = 0; k < seen; k++) {
      const x = this.cell[k] % width, y = (this.cell[k] - x) / width
      const from = Math.max(0, x - half), to = Math.min(width, x + half + 1)
      for (let row = Math.max(0, y - half); row <= Math.min(height - 1, y + half); row++) {
        for (let at = row * width + from; at < row * width + to; at++) cells[at] = this.ink[k]
      }
    }
  }
}
