// Reads a condition in the syntax of Dataset.query: comparisons of columns with numbers and texts, `in [...]`,
// and, or, not, parentheses. Nothing is evaluated as code.

const WORDS = /\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|([A-Za-z_][\w:]*)|(==|!=|<=|>=|<|>|\(|\)|\[|\]|,|-))/y

export function tokens(text) {
  const found = []
  WORDS.lastIndex = 0
  while (WORDS.lastIndex < text.trimEnd().length) {
    const start = WORDS.lastIndex
    const match = WORDS.exec(text)
    if (!match) throw new Error(`cannot read the condition at "${text.slice(start).trim().slice(0, 20)}"` + (/^\s*=/.test(text.slice(start)) ? ': write == for equality' : ''))
    const [, number, quoted, name, mark] = match
    if (number !== undefined) found.push({ kind: 'value', value: Number(number), text: number })
    else if (quoted !== undefined) found.push({ kind: 'value', value: quoted.slice(1, -1).replace(/\\(.)/g, '$1'), text: quoted })
    else if (name === 'True' || name === 'False') found.push({ kind: 'value', value: name === 'True', text: name })
    else if (name !== undefined && ['and', 'or', 'not', 'in'].includes(name)) found.push({ kind: name, text: name })
    else if (name !== undefined) found.push({ kind: 'name', value: name, text: name })
    else found.push({ kind: mark, text: mark })
  }
  return found
}

// A tree of {all|any: [..]}, {not: ..} and {column, op, value}.
export function parse(text, columns) {
  const list = tokens(text)
  let at = 0
  const next = (kind) => (list[at]?.kind === kind ? list[at++] : null)
  const need = (kind) => next(kind) ?? fail(kind)
  const fail = (expected) => {
    throw new Error(`cannot read the condition: expected ${expected} ${list[at] ? `before ${list[at].text}` : 'at its end'}`)
  }
  const series = (part, word, name) => {
    const parts = [part()]
    while (next(word)) parts.push(part())
    return parts.length === 1 ? parts[0] : { [name]: parts }
  }
  const any = () => series(all, 'or', 'any')
  const all = () => series(not, 'and', 'all')
  const not = () => {
    if (next('not')) return { not: not() }
    if (next('(')) {
      const inner = any()
      need(')')
      return inner
    }
    return comparison()
  }
  const literal = () => {
    const minus = next('-')
    const { value } = next('value') ?? fail('a number or a text in quotes')
    return minus ? -value : value
  }
  const comparison = () => {
    const column = (next('name') ?? fail('the name of a column')).value
    const known = columns.find((c) => c.name === column)
    if (!known) throw new Error(`no column ${column}; the list below the field has all of them`)
    if (next('not')) {
      need('in')
      return { not: { column, op: 'in', value: values(known) } }
    }
    if (next('in')) return { column, op: 'in', value: values(known) }
    const op = ['==', '!=', '<=', '>=', '<', '>'].find((mark) => next(mark))
    if (!op) {
      if (known.type === 'boolean') return { column, op: '==', value: true }
      fail('one of == != < <= > >= in')
    }
    return { column, op, value: checked(known, literal()) }
  }
  const values = (known) => {
    need('[')
    const inside = [checked(known, literal())]
    while (next(',')) inside.push(checked(known, literal()))
    need(']')
    return inside
  }
  const checked = (known, value) => {
    const wanted = known.type === 'number' ? 'number' : known.type === 'boolean' ? 'boolean' : 'string'
    if (typeof value !== wanted) throw new Error(`${known.name} is compared with ${wanted === 'string' ? 'a text in quotes' : wanted === 'number' ? 'a number' : 'True or False'}`)
    return value
  }
  const tree = any()
  if (at < list.length) fail('and, or, or nothing')
  return tree
}

export function columnsOf(tree) {
  if (tree.not) return columnsOf(tree.not)
  return tree.column ? [tree.column] : (tree.all ?? tree.any).flatMap(columnsOf)
}

const NO = 0, YES = 1, UNKNOWN = 2
const TESTS = {
  '==': (wanted) => (value) => value === wanted,
  '!=': (wanted) => (value) => value !== wanted,
  '<': (wanted) => (value) => value < wanted,
  '<=': (wanted) => (value) => value <= wanted,
  '>': (wanted) => (value) => value > wanted,
  '>=': (wanted) => (value) => value >= wanted,
  in: (wanted) => { const set = new Set(wanted); return (value) => set.has(value) },
}

// NO, YES or UNKNOWN (where a value is missing) for each row, as SQL has it. `columns` holds a column's values by name.
export function holds(tree, columns, count) {
  if (tree.not) {
    const found = holds(tree.not, columns, count)
    for (let i = 0; i < count; i++) if (found[i] !== UNKNOWN) found[i] ^= 1
    return found
  }
  if (tree.column) {
    const values = columns[tree.column], found = new Uint8Array(count), test = TESTS[tree.op](tree.value)
    for (let i = 0; i < count; i++) {
      const value = values[i]
      found[i] = value === null || value !== value ? UNKNOWN : test(value) ? YES : NO
    }
    return found
  }
  const decides = tree.any ? YES : NO, [found, ...others] = (tree.all ?? tree.any).map((part) => holds(part, columns, count))
  for (const other of others) {
    for (let i = 0; i < count; i++) if (found[i] !== decides && (other[i] === decides || other[i] === UNKNOWN)) found[i] = other[i]
  }
  return found
}

export const rowsThatHold = (tree, columns, count) => {
  const found = holds(tree, columns, count), rows = new Uint32Array(count)
  let n = 0
  for (let i = 0; i < count; i++) if (found[i] === YES) rows[n++] = i
  return rows.slice(0, n)
}
