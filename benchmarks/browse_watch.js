// Uses the page of `landweave browse` as a person does, and posts what it took: seconds, and milliseconds per frame.

const frame = () => new Promise((done) => requestAnimationFrame(done))
const until = async (holds) => { while (!holds()) await new Promise((done) => setTimeout(done, 5)) }
const $ = (id) => document.getElementById(id)
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1]
const found = {}

// Sends one event per frame. `work` is from the frame's begin until the page has painted it; `interval` is between frames.
async function frames(name, send, count = 60) {
  const work = [], interval = []
  let last = await frame()
  for (let i = 0; i < count; i++) {
    send(i)
    const began = await frame()
    work.push(performance.now() - began)
    interval.push(began - last)
    last = began
  }
  found[`${name}_work_ms`] = median(work)
  found[`${name}_interval_ms`] = median(interval)
}

async function seconds(name, act, done) {
  const began = performance.now()
  act()
  await until(done)
  await frame()
  found[`${name}_s`] = (performance.now() - began) / 1000
}

function show(condition) {
  $('message').textContent = ''
  $('condition').value = condition
  $('filter').requestSubmit()
}

async function run() {
  await until(() => document.body.dataset.ready === 'yes' && performance.getEntriesByName('coloured').length)
  await frame()
  found.picture_s = performance.getEntriesByName('coloured')[0].startTime / 1000
  found.ready_s = performance.now() / 1000
  const map = $('map'), box = map.getBoundingClientRect(), x = box.width / 2, y = box.height / 2
  const pointer = (type, dx) => map.dispatchEvent(new PointerEvent(type, { pointerId: 1, clientX: box.left + x + dx, clientY: box.top + y, bubbles: true }))
  map.setPointerCapture = () => {}
  pointer('pointerdown', 0)
  await frames('pan', (i) => pointer('pointermove', 40 * Math.sin(i / 8)))
  pointer('pointerup', 0)
  await frames('zoom', (i) => map.dispatchEvent(new WheelEvent('wheel', { deltaY: i < 30 ? -60 : 60, clientX: box.left + x, clientY: box.top + y, cancelable: true })))
  const said = () => $('message').textContent.includes('samples')
  await seconds('condition', () => show("worldcover_trees > 0.35 and split == 'train'"), said)
  await seconds('condition_again', () => show("worldcover_trees > 0.25 and split == 'train'"), said)
  found.samples = $('message').textContent
  await seconds('colour', () => { performance.clearMarks('coloured'); $('colour').value = 'worldcover_crops'; $('colour').dispatchEvent(new Event('change')) }, () => performance.getEntriesByName('coloured').length)
  const page = $('page').textContent, card = document.querySelector('.card')
  await seconds('next_page', () => $('next').click(), () => $('page').textContent !== page && document.querySelector('.card') !== card)
  await seconds('sample', () => document.querySelector('.card').click(), () => $('sample').open)
  found.heap_mb = performance.memory.usedJSHeapSize / 1e6
  await fetch('watched', { method: 'POST', body: JSON.stringify(found) })
}

run().catch((error) => fetch('watched', { method: 'POST', body: JSON.stringify({ error: String(error) }) }))
