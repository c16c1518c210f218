// The page of `landweave browse`. All text of the dataset is data: it is set as textContent, never as HTML.

import { asyncBufferFromUrl, parquetMetadataAsync, parquetRead } from './vendor/hyparquet.js'
import { columnsOf, parse, rowsThatHold } from './condition.js'
import { PointMap, scaled } from './map.js'

const PAGE = 24
const NEAR = 500 // rows between two rows that are worth reading with them
const $ = (id) => document.getElementById(id)
const state = { q: '', layer: '0-0', colour: 'split', page: 0, sample: null, date: 0 }
const loaded = {}
let dataset, file, metadata, chosen, map, drawing = 0

function element(tag, text, className) {
  const made = document.createElement(tag)
  if (text !== undefined) made.textContent = text
  if (className) made.className = className
  return made
}

async function json(path) {
  const answer = await fetch(path)
  if (!answer.ok) throw new Error(`${path}: HTTP ${answer.status}`)
  return answer.json()
}

const plain = (value) => typeof value === 'bigint' ? Number(value) : value ?? null

// Rows of one column of the index, or all of them: `take` gets (values, number of the first row), a piece after the other.
const read = (name, take, range = {}) => parquetRead({
  file, metadata, columns: [name], useOffsetIndex: true, ...range, onChunk: ({ columnData, rowStart }) => take(columnData, rowStart),
})

// One column of the index, read when it is first needed: only its bytes are fetched.
function column(name) {
  loaded[name] ??= (async () => {
    const isNumber = dataset.columns.find((c) => c.name === name).type === 'number'
    const values = isNumber ? new Float64Array(dataset.samples).fill(NaN) : new Array(dataset.samples).fill(null)
    await read(name, (piece, first) => {
      if (ArrayBuffer.isView(piece) && !(piece instanceof BigInt64Array)) return values.set(piece, first)
      for (let i = 0; i < piece.length; i++) if (piece[i] !== null && piece[i] !== undefined) values[first + i] = plain(piece[i])
    })
    return values
  })()
  return loaded[name]
}

// Values of a column at some rows, in ascending order; rows that are neighbours are read together.
async function valuesAt(name, rows) {
  if (loaded[name]) { const values = await loaded[name]; return Object.fromEntries(rows.map((n) => [n, values[n]])) }
  const found = {}, wanted = new Set(rows), ranges = []
  for (const n of rows) {
    if (ranges.length && n - ranges.at(-1).rowEnd < NEAR) ranges.at(-1).rowEnd = n + 1
    else ranges.push({ rowStart: n, rowEnd: n + 1 })
  }
  await Promise.all(ranges.map((range) => read(name, (piece, first) => {
    for (let i = 0; i < piece.length; i++) if (wanted.has(first + i)) found[first + i] = plain(piece[i])
  }, range)))
  return found
}

function say(text, bad = false) {
  $('message').textContent = text
  $('message').className = bad ? 'bad' : ''
}

function everything() {
  const rows = new Uint32Array(dataset.samples)
  for (let i = 0; i < rows.length; i++) rows[i] = i
  return rows
}

async function select() {
  if (!state.q.trim()) {
    chosen = everything()
  } else {
    const tree = parse(state.q, dataset.columns)
    const names = [...new Set(columnsOf(tree))]
    const columns = Object.fromEntries(await Promise.all(names.map(async (n) => [n, await column(n)])))
    chosen = rowsThatHold(tree, columns, dataset.samples)
  }
  const of = dataset.whole === dataset.samples ? '' : ` (a part of ${dataset.whole.toLocaleString('en')})`
  say(`${chosen.length.toLocaleString('en')} of ${dataset.samples.toLocaleString('en')} samples${of}`)
}

async function colourPoints() {
  const known = dataset.columns.find((c) => c.name === state.colour) ?? dataset.columns.find((c) => c.name === 'split')
  const values = await column(known.name)
  const { colours, key } = scaled(values, known.type)
  $('key').replaceChildren(...key.map(([colour, words]) => swatch(colour, words)))
  map.show(chosen, colours)
  performance.mark('coloured')
}

function swatch(colour, words) {
  const made = element('span')
  const box = element('i', undefined, 'swatch')
  box.style.background = colour
  made.append(box, words)
  return made
}

function layerOf() {
  const [group, slot] = state.layer.split('-').map(Number)
  return { group, slot, spec: dataset.groups[group] }
}

const pictureOf = (n, group, slot) => `pictures/${n}/${group}-${slot}.webp`

async function gallery() {
  const mine = ++drawing
  const pages = Math.max(1, Math.ceil(chosen.length / PAGE))
  state.page = Math.min(Math.max(0, state.page), pages - 1)
  $('page').textContent = `page ${state.page + 1} of ${pages}`
  $('previous').disabled = state.page === 0
  $('next').disabled = state.page >= pages - 1
  const { group, slot, spec } = layerOf()
  $('legend').replaceChildren(...spec.classes.map((c) => swatch(c.colour, c.name)))
  const shown = [...chosen.slice(state.page * PAGE, (state.page + 1) * PAGE)]
  const [ids, splits, there] = await Promise.all(['id', 'split', spec.present].map((name) => name && valuesAt(name, shown)))
  if (mine !== drawing) return
  $('cards').replaceChildren(...shown.map((n) => {
    const card = element('button', undefined, 'card')
    card.type = 'button'
    card.append(there && there[n] === 0 ? element('div', 'absent', 'absent') : image(n, group, slot, spec), element('span', ids[n]), element('span', splits[n] ?? '', 'soft'))
    card.addEventListener('click', () => open(n))
    return card
  }))
  if (!shown.length) $('cards').replaceChildren(element('p', 'No sample fulfils the condition.'))
}

function image(n, group, slot, spec) {
  const made = element('img')
  made.loading = 'lazy'
  made.alt = `${spec.name} of sample ${n + 1}`
  made.addEventListener('error', () => made.replaceWith(element('div', 'absent', 'absent')))
  made.src = pictureOf(n, group, slot)
  return made
}

async function open(n) {
  state.sample = n
  remember()
  const sample = await json(`samples/${n}.json`)
  if (state.sample !== n) return
  $('title').textContent = sample.id
  $('facts').textContent = sample.about.join(' · ')
  const most = Math.max(...sample.layers.map((l) => l.slots.length))
  $('dates').hidden = most < 2
  $('date').max = most - 1
  $('date').value = state.date = Math.min(state.date, most - 1)
  $('captions').replaceChildren(...(sample.captions.length ? sample.captions.flatMap((c) => [marked(c), element('p', by(c), 'soft')]) : [element('p', 'This sample has no caption.', 'soft')]))
  $('questions').replaceChildren(...(sample.questions.length ? [element('h3', 'Questions'), ...sample.questions.map(conversation)] : []))
  const absent = sample.absent.map((a) => {
    const row = element('tr')
    row.append(...[a.layer, a.reason, a.detail].map((t) => element('td', t)))
    return row
  })
  const table = element('table')
  table.append(...absent)
  $('absences').replaceChildren(...(absent.length ? [element('h3', 'What is absent, and why'), table] : []))
  $('values').replaceChildren(...sample.values.map(([name, value]) => {
    const row = element('tr')
    row.append(element('th', name), element('td', value))
    return row
  }))
  $('code').textContent = code(sample.id)
  layers(sample)
  $('date').oninput = () => {
    state.date = Number($('date').value)
    layers(sample)
    remember()
  }
  if (!$('sample').open) $('sample').showModal()
}

// The caption, with the words that claim something marked; their titles say what is claimed and what shows it.
function marked(caption) {
  const quote = element('blockquote')
  quote.append(...caption.pieces.map(({ text, says }) => {
    if (!says) return text
    const mark = element('mark', text)
    mark.title = says
    return mark
  }))
  return quote
}

function by(caption) {
  const parts = [caption.by]
  if (caption.pieces.some((piece) => piece.says)) parts.push('underlined words are claims, point at one to see what shows it')
  if (caption.unplaced.length) parts.push(`its claims in other words: ${caption.unplaced.join('; ')}`)
  return parts.join('; ')
}

// A conversation: what it is about, then each question with its options, its answer and what proves it.
function conversation({ about, looks, turns }) {
  const made = element('div', undefined, 'asked')
  made.append(element('span', [about, ...looks].join(' · '), 'soft'))
  for (const turn of turns) {
    const options = element('ol')
    options.append(...turn.options.map((option, i) => element('li', option, i === turn.right ? 'right' : undefined)))
    made.append(element('p', turn.question), ...(turn.options.length ? [options] : []))
    if (turn.right === null) made.append(element('p', turn.answer, 'right'))
    if (turn.mask) made.append(mask(turn.mask))
    made.append(element('p', `proved by ${turn.proof}`, 'soft'))
  }
  return made
}

// COCO's run lengths: column by column, first outside, then inside.
function mask({ size: [height, width], counts }) {
  const made = element('canvas', undefined, 'mask')
  made.width = width
  made.height = height
  const context = made.getContext('2d')
  context.fillStyle = '#1f6f54'
  let at = 0
  counts.forEach((count, i) => {
    for (const end = at + count; at < end; at++) if (i % 2) context.fillRect(Math.floor(at / height), at % height, 1, 1)
  })
  return made
}

function layers(sample) {
  $('shown').textContent = `${state.date + 1} of ${Number($('date').max) + 1}`
  $('layers').replaceChildren(...sample.layers.map((layer) => {
    const at = Math.min(state.date, layer.slots.length - 1)
    const slot = layer.slots[at]
    const box = element('div', undefined, 'picture')
    const legend = element('div', undefined, 'legend')
    legend.append(...layer.classes.map((c) => swatch(c.colour, `${c.name} ${c.share.replace(' ', '\u00a0')}`)))
    box.append(element('h4', layer.title), slot.present ? image(state.sample, layer.group, at, layer) : element('div', 'absent', 'absent'), element('span', slot.note, 'soft'), legend)
    return box
  }))
}

function code(id) {
  const query = state.q.trim() ? `\nselection = dataset.query(${JSON.stringify(state.q.trim())})` : ''
  return `import landweave\n\ndataset = landweave.open(${JSON.stringify(dataset.place)})${query}\nsample = dataset[${JSON.stringify(id)}]\nprint(sample.present)`
}

function step(by) {
  const at = chosen.indexOf(state.sample)
  const next = chosen[at + by]
  if (next !== undefined) open(next).catch(failed)
}

// The address of the page reopens the same view.
function remember() {
  const kept = new URLSearchParams()
  for (const [name, value] of Object.entries({ ...state, map: map?.place() })) if (value !== null && value !== '' && value !== undefined) kept.set(name, value)
  history.replaceState(null, '', `#${kept}`)
}

function recall() {
  const kept = new URLSearchParams(location.hash.slice(1))
  for (const name of ['q', 'layer', 'colour']) if (kept.has(name)) state[name] = kept.get(name)
  for (const name of ['page', 'date', 'sample']) if (/^\d+$/.test(kept.get(name) ?? '')) state[name] = Number(kept.get(name))
  const [group, slot] = state.layer.split('-').map(Number)
  if (!(slot < dataset.groups[group]?.slots)) state.layer = '0-0'
  if (!dataset.columns.some((c) => c.name === state.colour)) state.colour = 'split'
  if (!(state.sample < dataset.samples)) state.sample = null
  return kept.get('map')
}

const failed = (error) => say(error.message, true)

// After a mistake in the condition the samples stay as they were.
async function update() {
  await select().catch(failed)
  await Promise.all([colourPoints(), gallery()]).then(remember, failed)
}

function listen() {
  $('filter').addEventListener('submit', (event) => {
    event.preventDefault()
    state.q = $('condition').value
    state.page = 0
    update()
  })
  $('clear').addEventListener('click', () => {
    state.q = $('condition').value = ''
    state.page = 0
    update()
  })
  $('layer').addEventListener('change', () => { state.layer = $('layer').value; gallery().then(remember, failed) })
  $('colour').addEventListener('change', () => { state.colour = $('colour').value; colourPoints().then(remember, failed) })
  $('previous').addEventListener('click', () => { state.page--; gallery().then(remember, failed) })
  $('next').addEventListener('click', () => { state.page++; gallery().then(remember, failed) })
  $('fit').addEventListener('click', () => { map.fit(chosen); remember() })
  $('before').addEventListener('click', () => step(-1))
  $('after').addEventListener('click', () => step(1))
  $('close').addEventListener('click', () => $('sample').close())
  $('sample').addEventListener('close', () => { state.sample = null; remember() })
  $('sample').addEventListener('keydown', (event) => {
    if (event.target === $('date')) return
    if (event.key === 'ArrowLeft') step(-1)
    if (event.key === 'ArrowRight') step(1)
  })
  $('copy').addEventListener('click', () => navigator.clipboard?.writeText($('code').textContent))
}

async function start() {
  dataset = await json('dataset.json')
  document.title = $('name').textContent = dataset.name
  file = await asyncBufferFromUrl({ url: 'index.parquet' })
  metadata = await parquetMetadataAsync(file)
  const place = recall()
  $('condition').value = state.q
  $('columns').append(...dataset.columns.map((c) => { const o = element('option'); o.value = c.name; return o }))
  $('colour').append(...dataset.columns.filter((c) => c.name !== 'id').map((c) => new Option(c.name, c.name, false, c.name === state.colour)))
  $('layer').append(...dataset.groups.flatMap((g, i) => Array.from({ length: g.slots }, (_, s) => new Option(g.slots > 1 ? `${g.name} ${s + 1}` : g.name, `${i}-${s}`, false, `${i}-${s}` === state.layer))))
  const [lon, lat, land] = await Promise.all([column('lon'), column('lat'), json('vendor/land.json')])
  map = new PointMap($('map'), land.rings, lon, lat, { click: (n) => open(n).catch(failed), moved: remember })
  listen()
  chosen = everything()
  const sample = state.sample
  await update()
  if (!(place && map.go(place))) map.fit(chosen)
  if (sample !== null) await open(sample)
  document.body.dataset.ready = 'yes'
}

start().catch(failed)
