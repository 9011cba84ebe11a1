// The page of the inspector: asks the server over a WebSocket of koaws.v1, and shows the answers. All texts of the
// server are set as text, never as HTML.

// ---- elements

const main = document.querySelector('#main')
const dialog = document.querySelector('#dialog')

/** Makes an element. Attributes that are functions become listeners; undefined ones are left out. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name, value)
    else if (value !== undefined && value !== null) element.setAttribute(name, value)
  }
  element.append(...children.filter((child) => child !== null && child !== undefined))
  return element
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/** Tells screen readers something, once. */
function tell(text) {
  setText(document.querySelector('#told'), text)
}

// ---- numbers

const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 1 })
const number = (value) => (value === null || value === undefined ? '–' : plain.format(value))

function bytes(value) {
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  let at = 0
  let size = value
  for (; size >= 1000 && at < units.length - 1; at++) size /= 1000
  return `${plain.format(size)} ${units[at]}`
}

function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  if (seconds < 86_400)
    return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`
}

const milliseconds = (value) =>
  value === null || value === undefined
    ? '–'
    : `${value < 0.1 && value > 0 ? '< 0.1' : number(value)} ms`
const clock = (at) => new Date(at).toLocaleTimeString('en-GB')
const href = (kind, name) => `#${kind}/${encodeURIComponent(name)}`

// ---- the socket

/** One WebSocket that comes back. Requests while it is away are rejected. */
const line = {
  socket: null,
  last: 0,
  delay: 1_000,
  waiting: new Map(),
  opened: () => {},

  open() {
    const url = new URL('socket', import.meta.url)
    url.protocol = url.protocol.replace('http', 'ws')
    const socket = new WebSocket(url, 'koaws.v1')
    this.socket = socket
    socket.onmessage = ({ data }) => this.heard(JSON.parse(data))
    socket.onclose = ({ code }) => this.closed(code)
  },

  heard({ type, id, data, error }) {
    if (type === 'koaws:welcome') {
      this.delay = 1_000
      state('Live', true)
      this.opened()
    }
    const waiting = this.waiting.get(id)
    if (!waiting) return
    this.waiting.delete(id)
    if (error) waiting.reject(new Error(error.message))
    else waiting.resolve(data)
  },

  closed(code) {
    for (const { reject } of this.waiting.values()) reject(new Error('The connection is closed.'))
    this.waiting.clear()
    if (code === 4401 || code === 4403) {
      state('Not allowed: reload the page to log in', false)
      return
    }
    state('Disconnected, trying again', false)
    setTimeout(() => this.open(), this.delay * (0.75 + Math.random() / 2))
    this.delay = Math.min(15_000, this.delay * 2)
  },

  ask(type, data) {
    if (this.socket?.readyState !== WebSocket.OPEN)
      return Promise.reject(new Error('There is no connection.'))
    const id = ++this.last
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject })
      this.socket.send(JSON.stringify({ type, id, data }))
    })
  },
}

function state(text, isOpen) {
  setText(document.querySelector('#state-text'), isPaused && isOpen ? 'Paused' : text)
  document.querySelector('#dot').className = isOpen ? 'open' : ''
}

// ---- parts of views

/** Returns the line of a minute, with its area. */
function chart(label, values) {
  const make = (tag, attributes) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', tag)
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
    return element
  }
  const top = Math.max(1, ...values)
  const points = values.map((value, i) => `${60 - values.length + i},${32 - (30 * value) / top}`)
  const svg = make('svg', {
    viewBox: '0 0 59 33',
    preserveAspectRatio: 'none',
    role: 'img',
    'aria-label': label,
  })
  if (points.length > 1) {
    svg.append(
      make('polygon', { points: `${60 - values.length},33 ${points.join(' ')} 59,33` }),
      make('polyline', { points: points.join(' ') }),
    )
  }
  return svg
}

/** A table whose rows stay the same elements while their contents change. */
function table(caption, columns, options = {}) {
  const heads = columns.map(({ label, sort, isNumber }) => {
    const content =
      sort && options.sort
        ? h('button', { type: 'button', click: () => options.sort(sort) }, label)
        : label
    return h('th', { scope: 'col', class: isNumber ? 'number' : undefined }, content)
  })
  const body = h('tbody')
  const rows = new Map()
  const title = h('caption', {}, caption)
  const element = h('table', {}, title, h('thead', {}, h('tr', {}, ...heads)), body)
  return {
    element,
    caption: (text) => setText(title, text),
    sorted(sort, isDescending) {
      for (const [i, { sort: own }] of columns.entries()) {
        if (own === sort)
          heads[i].setAttribute('aria-sort', isDescending ? 'descending' : 'ascending')
        else heads[i].removeAttribute('aria-sort')
        const button = heads[i].querySelector('button')
        if (button)
          setText(button, `${columns[i].label}${own === sort ? (isDescending ? ' ↓' : ' ↑') : ''}`)
      }
    },
    show(items, keyOf) {
      const keys = new Set(items.map(keyOf))
      for (const [key, row] of rows) {
        if (keys.has(key)) continue
        row.element.remove()
        rows.delete(key)
      }
      for (const [i, item] of items.entries()) {
        const key = keyOf(item)
        let row = rows.get(key)
        if (!row) {
          row = makeRow(columns)
          rows.set(key, row)
        }
        row.show(item)
        if (body.children[i] !== row.element)
          body.insertBefore(row.element, body.children[i] ?? null)
      }
    },
  }
}

function makeRow(columns) {
  const cells = columns.map(({ label, link, isNumber }) => {
    const cell = h('td', { 'data-label': label, class: isNumber ? 'number' : undefined })
    const inner = link ? h('a') : h('span')
    cell.append(inner)
    return inner
  })
  return {
    element: h('tr', {}, ...cells.map((cell) => cell.parentElement)),
    show(item) {
      for (const [i, { text, link, isBad }] of columns.entries()) {
        setText(cells[i], String(text(item)))
        const target = link?.(item)
        if (target) cells[i].setAttribute('href', target)
        if (isBad) cells[i].className = isBad(item) ? 'bad' : ''
      }
    },
  }
}

/** A list of facts whose values change in place. */
function facts() {
  const element = h('dl', { class: 'facts' })
  const values = new Map()
  return {
    element,
    show(pairs) {
      for (const [name, text] of pairs) {
        let value = values.get(name)
        if (!value) {
          value = h('dd')
          values.set(name, value)
          element.append(h('dt', {}, name), value)
        }
        setText(value, String(text))
      }
    },
  }
}

/** The chain of an upgrade. */
function timeline({ steps }) {
  const total = Math.max(0.01, ...steps.map(({ at, before, after }) => at + before + (after ?? 0)))
  const thrower = steps.findLast(({ threw }) => threw !== null)
  const last = steps.at(-1)
  const items = steps.map((step) => {
    const own = step.before + (step.after ?? 0)
    const what =
      step === thrower
        ? `threw ${step.threw || 'an error'}`
        : !thrower && step === last
          ? step.after === null
            ? 'answered'
            : 'passed on, and nothing answered'
          : ''
    const bar = h('i')
    bar.style.width = `${(100 * step.before) / total}%`
    bar.style.marginLeft = `${(100 * step.at) / total}%`
    return h(
      'li',
      {},
      h(
        'span',
        {},
        step.name,
        what && h('span', { class: step === thrower ? 'bad' : 'quiet' }, ` · ${what}`),
      ),
      h('span', { class: 'quiet' }, milliseconds(own)),
      h('div', { class: 'bar', 'aria-hidden': 'true' }, bar),
    )
  })
  return h('ol', { class: 'chain' }, ...items)
}

const messageColumns = () => [
  { label: 'Time', text: ({ at }) => clock(at) },
  { label: 'Direction', text: ({ direction }) => (direction === 'in' ? '← in' : '→ out') },
  { label: 'Type', text: ({ type }) => type ?? '–' },
  { label: 'Size', isNumber: true, text: ({ size }) => bytes(size) },
  { label: 'Receivers', isNumber: true, text: ({ receivers }) => number(receivers) },
  {
    label: 'Handler',
    isNumber: true,
    text: (m) => (m.code ? m.code : milliseconds(m.duration)),
    isBad: ({ code }) => code !== null,
  },
  ...(hello.bodies ? [{ label: 'Body', text: ({ body }) => body ?? '' }] : []),
]

function messageTable() {
  const list = table(
    'The last 50 messages since you opened this view, newest first',
    messageColumns(),
  )
  return {
    element: list.element,
    show: (messages) => list.show(messages.toReversed(), (message) => messages.indexOf(message)),
  }
}

// ---- actions

let hello = { actions: [], bodies: false, state: false, instance: '' }

function actionButtons(kind, name, room) {
  const buttons = []
  const add = (action, label) => {
    if (hello.actions.includes(action)) {
      buttons.push(
        h(
          'button',
          {
            type: 'button',
            class: action === 'push' ? undefined : 'danger',
            click: () => confirmAction(action, kind, name, room),
          },
          label,
        ),
      )
    }
  }
  add('close', kind === 'connection' ? 'Close…' : 'Close all…')
  add('leave', 'Leave a room…')
  add('push', 'Send a test push…')
  return buttons.length > 0 ? h('div', { class: 'tools' }, ...buttons) : null
}

function field(label, attributes, tag = 'input') {
  const control = h(tag, attributes)
  return { control, label: h('label', {}, label, control) }
}

function confirmAction(action, kind, name, room = '') {
  const code = field('Close code', { type: 'number', value: '1000', min: '1000', max: '4999' })
  const reason = field('Reason', { maxlength: '123' })
  const left = field('Room', { value: room, maxlength: '255' })
  const type = field('Type', { value: 'test', maxlength: '255' })
  const data = field('Data (JSON, may be empty)', { rows: '4' }, 'textarea')
  const byAction = { close: [code, reason], leave: [left], push: [type, data] }
  const verbs = { close: 'Close', leave: 'Remove from the room', push: 'Send' }
  const scopes = {
    connection: 'this connection',
    room: 'every member of this room',
    user: 'every connection of this user',
  }
  const failed = h('p', { role: 'alert', class: 'bad' })
  const act = async () => {
    try {
      const given = data.control.value.trim()
      const sent = await line.ask('act', {
        ...{ action, kind, name, code: Number(code.control.value), reason: reason.control.value },
        ...{ room: left.control.value, type: type.control.value },
        data: given === '' ? undefined : JSON.parse(given),
      })
      dialog.close()
      tell(action === 'push' ? `Sent to ${sent} connections of this instance.` : 'Done.')
    } catch (error) {
      setText(failed, error instanceof SyntaxError ? 'The data is not valid JSON.' : error.message)
    }
  }
  dialog.replaceChildren(
    h('h2', { id: 'dialog-title' }, `${verbs[action]}: ${scopes[kind]}?`),
    h('p', { class: 'quiet' }, name),
    h('div', { class: 'fields' }, ...byAction[action].map(({ label }) => label)),
    failed,
    h(
      'div',
      { class: 'tools' },
      h('button', { type: 'button', click: () => dialog.close() }, 'Cancel'),
      h(
        'button',
        { type: 'button', class: action === 'push' ? undefined : 'danger', click: act },
        verbs[action],
      ),
    ),
  )
  dialog.showModal()
}

// ---- views: each returns its elements, how often it asks, and what it does

const instances = new Map()

/** Keeps a minute of each instance. */
function takeSamples({ instances: told }) {
  const present = new Set(told.map(({ instance }) => instance))
  for (const id of instances.keys()) if (!present.has(id)) instances.delete(id)
  for (const { instance, status, samples } of told) {
    const known = instances.get(instance) ?? { samples: [] }
    instances.set(instance, {
      instance,
      status,
      samples: [...known.samples, ...samples].slice(-60),
    })
  }
}

/** Adds up the instances second by second, from the newest back. */
function minute(name, join = (a, b) => a + b) {
  const sums = []
  for (const { samples } of instances.values()) {
    for (const [i, sample] of samples.toReversed().entries()) {
      sums[i] = sums[i] === undefined ? sample[name] : join(sums[i], sample[name])
    }
  }
  return sums.toReversed()
}

const sum = (values) => values.reduce((a, b) => a + b, 0)
const lastOf = ({ samples }, name) => samples.at(-1)?.[name] ?? 0

function overview() {
  const tiles = [
    { label: 'Connections', name: 'connections', show: (values) => number(values.at(-1)) },
    { label: 'Messages in', name: 'received', show: (values) => `${number(values.at(-1))}/s` },
    { label: 'Messages out', name: 'sent', show: (values) => `${number(values.at(-1))}/s` },
    { label: 'Bytes in', name: 'bytesIn', show: (values) => `${bytes(values.at(-1))}/s` },
    { label: 'Bytes out', name: 'bytesOut', show: (values) => `${bytes(values.at(-1))}/s` },
    {
      label: 'Drops and refusals in a minute',
      name: 'drops',
      show: (values) => number(sum(values)),
    },
    {
      label: 'Event-loop delay, longest',
      name: 'delay',
      join: Math.max,
      show: (values) => milliseconds(values.at(-1)),
    },
  ].map((tile) => ({ ...tile, value: h('strong', {}, '–'), chart: h('div') }))
  const list = table('Rates of the last second; drops of the last minute', [
    {
      label: 'Instance',
      text: ({ instance }) => (instance === hello.instance ? `${instance} (this page)` : instance),
    },
    { label: 'Connections', isNumber: true, text: ({ status }) => number(status.connections) },
    { label: 'Users', isNumber: true, text: ({ status }) => number(status.users) },
    { label: 'Rooms', isNumber: true, text: ({ status }) => number(status.rooms) },
    { label: 'In', isNumber: true, text: (one) => `${number(lastOf(one, 'received'))}/s` },
    { label: 'Out', isNumber: true, text: (one) => `${number(lastOf(one, 'sent'))}/s` },
    {
      label: 'Drops',
      isNumber: true,
      text: ({ samples }) => number(sum(samples.map(({ drops }) => drops))),
    },
    { label: 'Delay', isNumber: true, text: (one) => milliseconds(lastOf(one, 'delay')) },
    { label: 'Memory', isNumber: true, text: ({ status }) => bytes(status.memory) },
    { label: 'Up', isNumber: true, text: ({ status }) => duration(status.uptime * 1000) },
    {
      label: 'Backplane',
      text: ({ status: { backplane, ready, reasons } }) =>
        `${backplane.state}${ready ? '' : `; not ready: ${reasons.join(', ')}`}`,
      isBad: ({ status: { backplane, ready } }) => !ready || backplane.state === 'degraded',
    },
  ])
  const drops = facts()
  const missing = h('p', { class: 'bad' })
  return {
    title: 'Overview',
    every: 1_000,
    elements: [
      h(
        'dl',
        { class: 'tiles' },
        ...tiles.map(({ label, value, chart }) =>
          h('div', {}, h('dt', {}, label), h('dd', {}, value, chart)),
        ),
      ),
      h('h3', {}, 'Instances'),
      list.element,
      missing,
      h('h3', {}, 'Drops and refusals since the start, by reason'),
      drops.element,
    ],
    ask: () => {
      const since = Object.fromEntries(
        [...instances].map(([id, { samples }]) => [id, samples.at(-1)?.n ?? 0]),
      )
      return line.ask('overview', { since })
    },
    show(answer) {
      takeSamples(answer)
      for (const { label, name, join, show, value, chart: place } of tiles) {
        const values = minute(name, join)
        if (values.length === 0) continue
        setText(value, show(values))
        place.replaceChildren(
          chart(`${label} in the last minute, at most ${number(Math.max(...values))}`, values),
        )
      }
      list.show(
        [...instances.values()].sort((a, b) => (a.instance < b.instance ? -1 : 1)),
        ({ instance }) => instance,
      )
      setText(missing, missingText(answer))
      const counts = new Map()
      for (const { status } of instances.values()) {
        for (const [reason, count] of Object.entries(status.drops))
          counts.set(reason, (counts.get(reason) ?? 0) + count)
      }
      drops.show(
        [...counts].sort(([, a], [, b]) => b - a).map(([reason, count]) => [reason, number(count)]),
      )
    },
  }
}

function missingText({ missing }) {
  return missing?.length > 0 ? `No answer from: ${missing.join(', ')}` : ''
}

const connectionColumns = () => [
  { label: 'Connection', text: ({ id }) => id, link: ({ id }) => href('connection', id) },
  { label: 'User', text: ({ user }) => user ?? '–' },
  { label: 'Address', text: ({ ip }) => ip },
  { label: 'Path', text: ({ path }) => path },
  { label: 'Rooms', isNumber: true, text: ({ rooms }) => number(rooms) },
  {
    label: 'Age',
    sort: 'age',
    isNumber: true,
    text: ({ openedAt }) => duration(Date.now() - openedAt),
  },
  {
    label: 'Bytes',
    sort: 'bytes',
    isNumber: true,
    text: ({ bytesIn, bytesOut }) => bytes(bytesIn + bytesOut),
  },
  { label: 'Queue', sort: 'queue', isNumber: true, text: ({ queue }) => bytes(queue) },
  { label: 'Round trip', sort: 'rtt', isNumber: true, text: ({ rtt }) => milliseconds(rtt) },
]

/** The list of connections, with pages; the search is fixed for the members of a room. */
function connectionList(fixed) {
  const search = { text: '', field: 'any', sort: 'age', descending: true, ...fixed, after: null }
  const before = []
  let hasMore = false
  let last = null
  let isFresh = true
  const again = () => {
    isFresh = true
    void refresh()
  }
  const list = table('Connections', connectionColumns(), {
    sort(name) {
      search.descending = search.sort === name ? !search.descending : true
      search.sort = name
      search.after = null
      before.length = 0
      again()
    },
  })
  const previous = h(
    'button',
    {
      type: 'button',
      click: () => {
        search.after = before.pop() ?? null
        again()
      },
    },
    'Previous page',
  )
  const next = h(
    'button',
    {
      type: 'button',
      click: () => {
        before.push(search.after)
        search.after = last
        again()
      },
    },
    'Next page',
  )
  const fieldChoice = h(
    'select',
    {},
    ...['any', 'id', 'user', 'ip', 'room', 'path'].map((name) =>
      h(
        'option',
        { value: name },
        {
          any: 'Anything',
          id: 'Id begins with',
          user: 'User contains',
          ip: 'Address begins with',
          room: 'Room is',
          path: 'Path contains',
        }[name],
      ),
    ),
  )
  const text = h('input', { type: 'search', autocomplete: 'off', spellcheck: 'false' })
  let typing = 0
  const changed = () => {
    clearTimeout(typing)
    typing = setTimeout(() => {
      search.text = text.value
      search.field = fieldChoice.value
      search.after = null
      before.length = 0
      again()
    }, 250)
  }
  text.addEventListener('input', changed)
  fieldChoice.addEventListener('change', changed)
  const tools = fixed
    ? null
    : h(
        'div',
        { class: 'tools' },
        h('label', {}, 'Field', fieldChoice),
        h('label', {}, 'Search', text),
      )
  const missing = h('p', { class: 'bad' })
  return {
    elements: [tools, list.element, h('div', { class: 'pages' }, previous, next), missing],
    ask: () => line.ask('connections', search),
    show(answer) {
      const { rows, matched, isWhole } = answer
      list.sorted(search.sort, search.descending)
      list.show(rows, ({ id }) => id)
      const end = rows.at(-1)
      last = end ? { key: end.key, id: end.id } : null
      hasMore = answer.hasMore
      previous.disabled = before.length === 0 && search.after === null
      next.disabled = !hasMore
      const caption = `${number(matched)} connections${isWhole ? '' : ', at least'}; page ${before.length + 1}`
      list.caption(caption)
      if (isFresh) tell(caption)
      isFresh = false
      setText(missing, missingText(answer))
    },
  }
}

const connections = () => ({ title: 'Connections', every: 5_000, ...connectionList() })

function connection(id) {
  const handshake = h('div', {}, h('p', { class: 'quiet' }, 'Not known'))
  const known = facts()
  const rooms = h('ul')
  const shownState = h('pre', { tabindex: '0', 'aria-label': 'State' })
  const messages = messageTable()
  const ended = h('p', { class: 'bad' })
  const actions = actionButtons('connection', id)
  let drawn = ''
  return {
    title: `Connection ${id}`,
    every: 1_000,
    elements: [
      ended,
      actions,
      h(
        'div',
        { class: 'columns' },
        h('section', { 'aria-label': 'Facts' }, h('h3', {}, 'Facts'), known.element),
        h(
          'section',
          { 'aria-label': 'Handshake' },
          h('h3', {}, 'Handshake'),
          handshake,
          h('h3', {}, 'Rooms'),
          rooms,
        ),
      ),
      ...(hello.state ? [h('h3', {}, 'State'), shownState] : []),
      h('h3', {}, 'Messages'),
      messages.element,
    ],
    ask: () => line.ask('connection', { id }),
    show({ details, closed, timeline: chain, messages: recorded, instance }) {
      if (!details && !closed) {
        setText(ended, 'No instance knows this connection.')
        return
      }
      const all = details ?? closed
      if (closed) {
        setText(
          ended,
          `Closed at ${clock(closed.at)} with ${closed.code}${closed.reason === '' ? '' : ` “${closed.reason}”`}${closed.clean ? '' : ', without a closing handshake'}.`,
        )
        actions?.remove()
      }
      known.show([
        ['User', all.user ?? '–'],
        ['Address', all.ip],
        ['Path', all.path],
        [
          'Opened',
          `${clock(all.openedAt)}, ${duration((closed?.at ?? Date.now()) - all.openedAt)} ago`,
        ],
        ['Instance', instance],
        ...(details
          ? [
              ['Subprotocol', details.subprotocol || 'none'],
              ['Received', bytes(details.bytesIn)],
              ['Sent', bytes(details.bytesOut)],
              ['Waiting for the client', bytes(details.queue)],
              ['Round trip', milliseconds(details.rtt)],
              [
                'Authorization ends',
                details.expiresAt === null
                  ? 'never'
                  : new Date(details.expiresAt).toLocaleString('en-GB'),
              ],
              ...details.params.map(([name, value]) => [`:${name}`, value]),
            ]
          : []),
      ])
      if (chain && drawn === '') {
        drawn = 'drawn'
        handshake.replaceChildren(timeline(chain))
      }
      if (details) {
        const names = details.rooms.join('\n')
        if (rooms.dataset.names !== names) {
          rooms.dataset.names = names
          rooms.replaceChildren(
            ...details.rooms.map((room) => h('li', {}, h('a', { href: href('room', room) }, room))),
          )
          if (details.roomCount > details.rooms.length)
            rooms.append(h('li', {}, `and ${details.roomCount - details.rooms.length} more`))
          if (details.roomCount === 0) rooms.append(h('li', { class: 'quiet' }, 'none'))
        }
        if (hello.state) setText(shownState, details.state ?? '')
        messages.show(recorded ?? [])
      }
    },
  }
}

function groups(kind) {
  const label = kind === 'room' ? 'Rooms' : 'Users'
  const search = { kind, text: '' }
  let isFresh = true
  const list = table(label, [
    {
      label: kind === 'room' ? 'Room' : 'User',
      text: ([name]) => name,
      link: ([name]) => href(kind, name),
    },
    { label: 'Connections', isNumber: true, text: ([, count]) => number(count) },
  ])
  let typing = 0
  const text = h('input', {
    type: 'search',
    autocomplete: 'off',
    spellcheck: 'false',
    input: () => {
      clearTimeout(typing)
      typing = setTimeout(() => {
        search.text = text.value
        isFresh = true
        void refresh()
      }, 250)
    },
  })
  const missing = h('p', { class: 'bad' })
  return {
    title: label,
    every: 5_000,
    elements: [
      h('div', { class: 'tools' }, h('label', {}, 'Name contains', text)),
      list.element,
      missing,
    ],
    ask: () => line.ask('groups', search),
    show(answer) {
      const { names, matched, isWhole } = answer
      list.show(names, ([name]) => name)
      const caption = `${isWhole ? '' : 'At least '}${number(matched)} ${label.toLowerCase()}; the ${number(names.length)} largest`
      list.caption(caption)
      if (isFresh) tell(caption)
      isFresh = false
      setText(missing, missingText(answer))
    },
  }
}

function group(kind, name) {
  const known = facts()
  const messages = messageTable()
  const members = connectionList({ text: name, field: kind })
  const rates = []
  return {
    title: `${kind === 'room' ? 'Room' : 'User'} ${name}`,
    every: 2_000,
    elements: [
      actionButtons(kind, name, kind === 'room' ? name : ''),
      known.element,
      h('h3', {}, kind === 'room' ? 'Members' : 'Connections'),
      ...members.elements,
      h('h3', {}, 'Messages'),
      messages.element,
    ],
    ask: async () => Promise.all([line.ask('group', { kind, name }), members.ask()]),
    show([told, page]) {
      const { count, position, messages: recorded } = told
      const now = Date.now()
      rates.push(now)
      const since = Math.max(now - 10_000, rates[0])
      const recent = recorded.filter(({ at }) => at >= since).length
      known.show([
        ['Connections', number(count)],
        ['Messages', now - since < 1_000 ? '–' : `${number((recent * 1000) / (now - since))}/s`],
        ['Position in the history', position ?? 'not recorded'],
      ])
      members.show(page)
      messages.show(recorded)
    },
  }
}

function rejections() {
  const list = h('ol', { class: 'refusals' })
  const caption = h('p', { class: 'quiet' })
  let shown = ''
  return {
    title: 'Recent rejections',
    every: 2_000,
    elements: [caption, list],
    ask: () => line.ask('refusals'),
    show(answer) {
      const { all } = answer
      setText(
        caption,
        all.length === 0
          ? 'No upgrade was rejected since the start.'
          : `The last ${number(all.length)} upgrades that were not accepted, newest first. ${missingText(answer)}`,
      )
      const key = `${all.length} ${all[0]?.at} ${all[0]?.instance}`
      if (key === shown) return
      shown = key
      const open = new Set(
        [...list.querySelectorAll('details[open]')].map(({ dataset }) => dataset.key),
      )
      list.replaceChildren(...all.map((one) => refusal(one, open)))
    },
  }
}

function refusal(one, open) {
  const key = `${one.at} ${one.instance} ${one.path} ${one.ip}`
  const {
    status,
    code,
    path,
    reason,
    origin,
    ip,
    at,
    fix,
    userAgent,
    instance,
    duration: took,
  } = one
  const more = h('details', { 'data-key': key }, h('summary', {}, 'Details'))
  if (open.has(key)) more.open = true
  const known = facts()
  known.show([
    ['Address', ip],
    ['Origin', origin ?? 'none: not a browser'],
    ['User-Agent', userAgent ?? 'none'],
    ['Decided after', `${took} ms`],
    ['Instance', instance],
  ])
  more.append(known.element)
  if (one.timeline) more.append(h('h3', {}, 'Chain'), timeline(one.timeline))
  else more.append(h('p', { class: 'quiet' }, 'It was refused before the chain ran.'))
  return h(
    'li',
    {},
    h(
      'p',
      {},
      h('strong', {}, `${status === 0 ? 'No answer' : status} ${path}`),
      ' ',
      h(
        'span',
        { class: 'quiet' },
        `${clock(at)}${code ? ` · ${code}` : ''}${origin ? ` · from ${origin}` : ''}`,
      ),
    ),
    reason ? h('p', { class: 'quiet' }, reason.replaceAll('\\"', '"')) : null,
    h('p', {}, fix),
    more,
  )
}

function closes() {
  const list = table('The last 200 connections that ended, newest first', [
    { label: 'Time', text: ({ at }) => clock(at) },
    { label: 'Connection', text: ({ id }) => id, link: ({ id }) => href('connection', id) },
    { label: 'User', text: ({ user }) => user ?? '–' },
    { label: 'Path', text: ({ path }) => path },
    { label: 'Open for', isNumber: true, text: ({ openedAt, at }) => duration(at - openedAt) },
    { label: 'Code', isNumber: true, text: ({ code }) => code },
    {
      label: 'Reason',
      text: ({ reason, clean }) => `${reason || '–'}${clean ? '' : ' (no closing handshake)'}`,
    },
  ])
  return {
    title: 'Closes',
    every: 2_000,
    elements: [list.element],
    ask: () => line.ask('closes'),
    show: ({ all }) => list.show(all, ({ id }) => id),
  }
}

// ---- what is shown

const VIEWS = {
  overview,
  connections,
  connection,
  rooms: () => groups('room'),
  users: () => groups('user'),
  room: (name) => group('room', name),
  user: (name) => group('user', name),
  rejections,
  closes,
}
/** The link of the navigation that a view belongs to. */
const PARENTS = { connection: 'connections', room: 'rooms', user: 'users' }

let view = null
let timer = 0
let isPaused = false
let asked = 0

/** Asks now, and then as often as the view wants. One question at a time; hidden pages ask nothing. */
async function refresh(isByItself = false) {
  clearTimeout(timer)
  const mine = view
  const turn = ++asked
  if (mine && !document.hidden && !(isByItself && isPaused)) {
    try {
      const answer = await mine.ask()
      if (mine === view && turn === asked) mine.show(answer)
    } catch (error) {
      if (line.socket?.readyState === WebSocket.OPEN) tell(error.message)
    }
  }
  if (turn === asked) timer = setTimeout(() => void refresh(true), mine?.every ?? 1_000)
}

function show() {
  const [name, argument = ''] = location.hash.slice(1).split('/')
  if (name === 'main' && view) {
    main.focus()
    return
  }
  const known = Object.hasOwn(VIEWS, name) ? name : 'overview'
  view = VIEWS[known](decode(argument))
  const title = h('h2', { tabindex: '-1' }, view.title)
  main.replaceChildren(title, ...view.elements.filter(Boolean))
  document.title = `${view.title} · koaws inspector`
  const current = `#${PARENTS[known] ?? known}`
  for (const link of document.querySelectorAll('nav a')) {
    if (link.getAttribute('href') === current) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  void refresh()
  return title
}

function decode(text) {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

document.querySelector('#pause').addEventListener('click', ({ currentTarget }) => {
  isPaused = !isPaused
  currentTarget.setAttribute('aria-pressed', String(isPaused))
  if (line.socket?.readyState === WebSocket.OPEN) state('Live', true)
  if (!isPaused) void refresh()
})
addEventListener('hashchange', () => show()?.focus())
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) void refresh(true)
})
line.opened = async () => {
  hello = await line.ask('hello')
  if (view) void refresh()
  else show()
}
line.open()
